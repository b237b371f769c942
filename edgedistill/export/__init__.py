"""Lowers the quantized state and its float twin to the files that runtimes load."""
