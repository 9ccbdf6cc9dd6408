"""The ten sets from their archives to the framework's format: found, paired, proved, written and owned.
The command line imports it; it knows the masks and sets of `data`, neither torch nor the framework.
"""
