"""Verifies every artifact against the quantized state: executes it, compares its outputs, and scores the ladder."""
