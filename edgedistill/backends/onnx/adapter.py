"""ONNX Runtime on the CPU."""

import platform
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

_ERRORS_ONLY = 3


def versions() -> dict[str, str]:
    """Version of the runtime's package."""
    return {"onnxruntime": version("onnxruntime")}


def prepare(threads: int) -> None:
    """Import the runtime and silence its informational log; threads are an option of each session."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)


def load(path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Open `path` (.onnx or .ort) and return its forward function, float32 [1, C, H, W] or uint8 [1, H, W, C] -> float32 [1, classes]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # By default products with 4-bit weights round their other side to 8 bits: 1 asks for float32.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if platform.machine().lower() in ("x86_64", "amd64"):
        # Without VNNI, the u8s8 kernels add pairs of products in int16 and saturate; this option takes exact kernels.
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs, outputs = [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(f"{path}: expected one input and one output, found inputs {inputs} and outputs {outputs}")

    def forward(image: np.ndarray) -> np.ndarray:
        return session.run(outputs, {inputs[0]: image})[0]

    return forward
