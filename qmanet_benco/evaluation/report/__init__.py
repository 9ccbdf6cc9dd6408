"""From records to tables, figures and pages.
The command line imports it; it reads records and makes none.
"""
