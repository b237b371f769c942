"""ONNX Runtime on the CPU."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from edgedistill.measure.runner.naming import Signature, matched
from edgedistill.measure.runner.samples import Arrays, Forward

_ERRORS_ONLY = 3
_NEXT = "_next"
"""What stands behind the name of an input that is kept between calls, in the name of the output that it becomes."""


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

    session = onnxruntime.InferenceSession(path, session_options(threads), providers=["CPUExecutionProvider"])
    kept = {port.name: port for port in session.get_inputs() if f"{port.name}{_NEXT}" in {port.name for port in session.get_outputs()}}
    after = {f"{name}{_NEXT}" for name in kept}
    inputs = matched([port.name for port in session.get_inputs() if port.name not in kept], signature, "inputs")
    outputs = matched([port.name for port in session.get_outputs() if port.name not in after], signature, "outputs")
    if kept:
        return _keeping(session, {name: tuple(port.shape) for name, port in kept.items()}, inputs, outputs)
    output_names = list(outputs.values())

    def forward(arrays: Arrays) -> Arrays:
        return dict(zip(outputs, session.run(output_names, {own: arrays[name] for name, own in inputs.items()}), strict=True))

    return forward


def session_options(threads: int) -> Any:
    """The options of each session on this machine, an `onnxruntime.SessionOptions`; the glue code of each language has the same ones."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # By default products with weights of 4 or 8 bits round their other side to 8 bits: 1 asks for float32.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if platform.machine().lower() in ("x86_64", "amd64"):
        # Without VNNI, the u8s8 kernels add pairs of products in int16 and saturate; this option takes exact kernels.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _keeping(session: Any, shapes: Mapping[str, tuple[int, ...]], inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Forward:
    """The forward function of a session with float32 inputs `shapes` that are kept between calls, zero at first.

    Each is bound to the same memory as the output that it becomes, in which the operator that reads it works.
    """
    import numpy as np
    from onnxruntime import OrtValue

    binding = session.io_binding()
    # They are first of what `get_outputs` gives.
    for own in outputs.values():
        binding.bind_output(own)
    for name, shape in shapes.items():
        value = OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
        binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(f"{name}{_NEXT}", value)

    def forward(arrays: Arrays) -> Arrays:
        for name, own in inputs.items():
            binding.bind_cpu_input(own, arrays[name])
        for own in outputs.values():
            # Anew: what was allocated for the last call has its size.
            binding.bind_output(own)
        session.run_with_iobinding(binding)
        return {name: value.numpy() for name, value in zip(outputs, binding.get_outputs(), strict=False)}

    return forward
