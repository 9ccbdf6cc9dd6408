"""Data sets: demo forgeries, preparation and checks. Stands alone: no torch, no IMDLBenCo."""
