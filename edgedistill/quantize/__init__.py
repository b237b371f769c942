"""Turns a student into a module that the trainer can train with fake quantization, and into a quantized state."""
