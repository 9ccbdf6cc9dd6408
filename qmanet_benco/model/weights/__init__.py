"""Weights as files: their names, where they come from, how they are read, and models built with them.
Any room above `model` may import it; here only the network and its configuration are known.
"""
