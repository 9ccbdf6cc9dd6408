"""Lets a stopped training go on to the same bits: steps, random states, samples and held-out photos.
It stands on `seam`; the corrections and what is above them may import it.
"""
