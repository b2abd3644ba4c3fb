"""The ground floor, which imports no other part: errors, atomic writes, the seal, URLs and ONNX graph helpers."""
