"""Distil, quantize, export, prove and measure models for phones and single-board computers."""

import os

__version__ = "0.1.0"

# ONNX Runtime reads this when its library is loaded. Without it, it sends events to its maker, also from a device while that is measured.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
