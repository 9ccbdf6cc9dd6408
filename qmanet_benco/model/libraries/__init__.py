"""Parts of timm and mmsegmentation, imported file by file. Imported by the rest of the model; imports nothing of it."""
