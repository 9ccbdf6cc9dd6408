"""Explains a mask by Grad-CAM and by the attention of the queries, drawn as panels.
The page and the command line may import it; it knows the model, not the framework.
"""
