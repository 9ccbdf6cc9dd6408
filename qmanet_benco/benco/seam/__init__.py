"""Where this project touches the framework: patches, flags, checked inputs, checkpoints, groups of processes.
It is the bottom of `benco`: all rooms of `benco` and those above may import it, and it imports none of them.
"""
