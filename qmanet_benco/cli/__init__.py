"""The command line `qmanet`: one file for each group of commands, with their tables and printing; ``main`` joins them.
It stands above every other room; none of them imports it.
"""
