"""Parts of timm and mmsegmentation, imported file by file so that the rest of these packages is not executed.
The rest of `model` imports it; it imports nothing of the model.
"""
