"""LiteRT: lowering, reading, delegation and adapters of .tflite files."""
