"""Keras to ONNX: build the network, translate it, clean the graph, prove parity."""
