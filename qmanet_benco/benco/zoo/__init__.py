"""Builds any model by its registered name: QMA-Net, the baselines with their recipes, their corrected versions.
It stands on the plugin and the corrections; scoring, the launcher and the rooms above `benco` may import it.
"""
