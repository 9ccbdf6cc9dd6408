"""Corrects what the stock scripts and the stock models do wrong: one row for each defect, with its patch beside it.
It stands on `seam` and `resume`; the zoo, the scoring and the launcher may import it.
"""
