"""Distil, quantize, export, prove and measure models for phones and single-board computers."""

__version__ = "0.1.0"
