"""Applications of a trained network to photos: predict, explain, export and the web page.
The command line and the public names import it; it needs the model and not the framework.
"""
