"""Whether a data set is fit for use: its pairs, its masks, its duplicates, and the report on them.
The command line imports it; it knows neither torch nor the framework.
"""
