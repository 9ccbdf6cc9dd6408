"""The model in PyTorch, OpenVINO or onnxruntime, and its export to their formats.
The rest of `apps` and the command line may import it; it knows the model, not the framework.
"""
