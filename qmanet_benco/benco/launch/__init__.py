"""Runs a stock script, in this process or in a group of several on one or more machines.
It is the top of `benco`: `evaluation` and the command line may import it, and no other room of `benco` does.
"""
