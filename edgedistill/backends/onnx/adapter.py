"""ONNX Runtime on the CPU."""

import platform
from importlib.metadata import version

from edgedistill.measure.runner.naming import Signature, matched
from edgedistill.measure.runner.samples import Arrays, Forward

_ERRORS_ONLY = 3


def versions() -> dict[str, str]:
    """Version of the runtime's package."""
    return {"onnxruntime": version("onnxruntime")}


def prepare(threads: int) -> None:
    """Import the runtime and silence its informational log; threads are an option of each session."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """Open `path` (.onnx or .ort) and return its forward function, named arrays to named arrays.

    signature: names of inputs and outputs, in their order; without it they have those of the file.
    """
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
    inputs = matched([port.name for port in session.get_inputs()], signature, "inputs")
    outputs = matched([port.name for port in session.get_outputs()], signature, "outputs")
    output_names = list(outputs.values())

    def forward(arrays: Arrays) -> Arrays:
        return dict(zip(outputs, session.run(output_names, {own: arrays[name] for name, own in inputs.items()}), strict=True))

    return forward
