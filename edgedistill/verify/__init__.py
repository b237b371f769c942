"""Proves every artifact against the quantized state: executes it, compares its answers, and scores the ladder."""
