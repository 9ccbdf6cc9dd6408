"""Makes forgeries from authentic photos, with their masks: the demo set and the generators behind it.
`evaluation`, the quick start and the command line may import it; it knows neither torch nor the framework.
"""
