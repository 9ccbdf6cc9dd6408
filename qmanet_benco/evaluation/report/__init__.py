"""Makes tables, figures and pages from the records of a suite; it makes no records.
Only the command line imports it.
"""
