"""ONNX and ORT: lowering, reading, delegation and the adapter of .onnx and .ort files."""
