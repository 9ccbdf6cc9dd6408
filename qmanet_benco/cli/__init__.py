"""The command line `qmanet`: commands, tables and printing; :mod:`qmanet_benco.cli.main` is the console script.
It stands above every other room, and none of them imports it.
"""
