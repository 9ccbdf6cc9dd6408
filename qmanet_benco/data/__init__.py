"""Data sets: demo forgeries, preparation and checks.
It stands alone and knows neither torch nor IMDLBenCo; `evaluation` and the command line may import it.
"""
