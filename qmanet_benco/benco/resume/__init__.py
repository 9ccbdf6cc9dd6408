"""A training that was stopped goes on as if it had not been: steps, random states, samples and held-out photos.
It stands on `seam`; the corrections and what is above them may import it.
"""
