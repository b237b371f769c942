"""TensorFlow Lite through tflite-runtime, LiteRT's predecessor: for the Python of an old board, where ai-edge-litert has no wheel."""

from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from edgedistill.backends.litert import adapter as litert


def versions() -> dict[str, str]:
    """Version of the runtime's package."""
    return {"tflite-runtime": version("tflite-runtime")}


def prepare(threads: int) -> None:
    """Import the runtime; threads are an option of each interpreter."""
    import tflite_runtime.interpreter  # noqa: F401


def load(path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Open `path` (.tflite) and return its forward function, float32 [1, C, H, W] or uint8 [1, H, W, C] -> float32 [1, classes]."""
    from tflite_runtime.interpreter import Interpreter

    return litert.open_with(Interpreter, path, threads)
