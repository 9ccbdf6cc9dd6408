"""The command line `qmanet`: one file for each group of commands, with all tables and printing; ``main`` joins them.
It stands above every other room, and none of them imports it.
"""
