"""The ten sets from their archives to the framework's format: listed (`layouts.py` has a finder for each), paired,
laid on each other, written and owned.
The command line imports it; it knows the masks and sets of `data`, neither torch nor the framework.
"""
