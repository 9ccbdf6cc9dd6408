"""Statistics of JPEG blocks beside the noise view; not in the paper.

Only the network imports them; they import the noise view's de-normalisation and layers.
"""
