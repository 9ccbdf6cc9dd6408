"""Forgeries made from authentic photos, with their masks: the demo set and the generators behind it.
The rooms above may import it; it knows neither torch nor the framework.
"""
