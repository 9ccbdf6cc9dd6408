"""The web page for one photo at a time: the server, its limits, its store and its views.
The command line imports it; it stands on the rest of `apps`.
"""
