"""From a suite's file to durable records: models, sets and attacks, in one process or several.
Reports and the command line may import it; it stands on `benco`.
"""
