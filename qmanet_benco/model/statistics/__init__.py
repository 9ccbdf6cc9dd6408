"""Statistics of an image's blocks beside the noise view; not in the paper.

The network imports them, and prediction the size of a block; they import the noise view's de-normalisation and layers.
"""
