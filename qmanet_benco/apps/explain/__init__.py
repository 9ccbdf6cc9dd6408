"""Why a mask came out as it did: Grad-CAM, attention and probes, drawn as panels.
The page and the command line may import it; it knows the model, not the framework.
"""
