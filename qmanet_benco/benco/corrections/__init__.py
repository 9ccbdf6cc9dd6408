"""What the stock scripts and the stock models do wrong, one row for each correction, and the patches themselves.
It stands on `seam` and `resume`; the zoo, the scoring and the launcher may import it.
"""
