"""The web page for one photo at a time, made with Gradio: the page, its server, its limits and its pictures.
The command line imports it; it stands on the rest of `apps`.
"""
