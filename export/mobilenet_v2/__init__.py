"""MobileNetV2 from its arrays, without TensorFlow: its units, their weights, its graph, and a reference in numpy."""
