"""Scores the models, sets and attacks of a suite file into records that last, in one process or several.
It stands on `benco`; reports and the command line may import it.
"""
