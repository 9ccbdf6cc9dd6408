"""SAM as a baseline (Kirillov et al. 2023)."""
