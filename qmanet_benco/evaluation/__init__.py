"""From a suite to records, and from records to tables and figures; with metrics, attacks and costs.
It stands on `benco`, `model` and `data`; only the command line imports it.
"""
