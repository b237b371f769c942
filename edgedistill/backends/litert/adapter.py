"""LiteRT (formerly TensorFlow Lite) on the CPU, with the XNNPACK delegate that it applies by default."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np


def versions() -> dict[str, str]:
    """Version of the runtime's package."""
    return {"ai-edge-litert": version("ai-edge-litert")}


def prepare(threads: int) -> None:
    """Import the runtime; threads are an option of each interpreter."""
    import ai_edge_litert.interpreter  # noqa: F401


def load(path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Open `path` (.tflite) and return its forward function, float32 [1, C, H, W] or uint8 [1, H, W, C] -> float32 [1, classes]."""
    from ai_edge_litert.interpreter import Interpreter

    return open_with(Interpreter, path, threads)


def open_with(interpreter_class: Any, path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """As `load`, with the Interpreter of whichever package has the interface of TensorFlow Lite."""
    interpreter = interpreter_class(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    found = [f"{tensor['name']} {np.dtype(tensor['dtype']).name}" for tensor in (*inputs, *outputs)]
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0]["dtype"] not in (np.float32, np.uint8) or outputs[0]["dtype"] != np.float32:
        raise ValueError(f"{path}: expected one float32 or uint8 input and one float32 output, found {found}")
    source, target = inputs[0]["index"], outputs[0]["index"]

    def forward(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        # get_tensor copies, so that the next call cannot change what this one returned.
        return interpreter.get_tensor(target)

    return forward
