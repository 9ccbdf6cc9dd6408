"""Every model by its registered name: built on any machine, the baselines with their recipes, corrected versions.
It stands on the plugin and the corrections; the scoring, the launcher and the rooms above `benco` may import it.
"""
