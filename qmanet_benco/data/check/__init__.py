"""Checks whether a data set is fit for use: its pairs, masks, sizes and duplicates.
Only the command line imports it; it knows neither torch nor the framework.
"""
