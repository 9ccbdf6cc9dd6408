"""Where this project touches the framework: patches, flags, options; inputs go in, checkpoints come out.
The bottom of `benco`: it is meant to import none of its other sub-rooms, and all of them may import it.
"""
