"""Puts the ten sets from their archives into the framework's format; `layouts.py` has a finder for each archive.
`check`, `protocol` and the command line may import it; it knows neither torch nor the framework.
"""
