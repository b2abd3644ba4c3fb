"""The classifier file: head to ONNX layers, joined to the backbone."""
