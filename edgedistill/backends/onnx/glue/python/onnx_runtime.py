"""ONNX Runtime on the CPU."""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

NAME = PACKAGE = "onnxruntime"
_NEXT = "_next"
"""What stands behind the name of an input that is kept between calls, in the name of the output that it becomes."""


def version() -> str:
    """Version of the installed runtime. Raises ImportError without one."""
    try:
        return version_of(NAME)
    except PackageNotFoundError as error:
        raise ImportError(f"{NAME} is not installed") from error


def load(path: str, threads: int, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[Callable[[Any], Any], str]:
    """Open a file. Returns the function from named arrays to named arrays, and what computes it."""
    # Read when its library is loaded. Without it, it sends events to its maker.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # By default products with weights of 4 or 8 bits round their other side to 8 bits; files are verified with 1, which is float32.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    # On processors without VNNI, faster int8 kernels saturate; this takes exact ones. Others ignore it.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names, provider = list(outputs), session.get_providers()[0]
    after = {port.name for port in session.get_outputs()}
    if kept := [port for port in session.get_inputs() if f"{port.name}{_NEXT}" in after]:
        return _keeping(session, {port.name: tuple(port.shape) for port in kept}, names), provider
    return lambda arrays: dict(zip(names, session.run(names, dict(arrays)), strict=True)), provider


def _keeping(session: Any, shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[str]) -> Callable[[Any], Any]:
    """The function of a file with float32 inputs `shapes` that are kept between calls, zero at first.

    Each is bound to the same memory as the output that it becomes, in which the operator that reads it works.
    """
    import numpy as np
    from onnxruntime import OrtValue

    binding = session.io_binding()
    # They are first of what `get_outputs` gives.
    for name in outputs:
        binding.bind_output(name)
    for name, shape in shapes.items():
        value = OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
        binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(f"{name}{_NEXT}", value)

    def run(arrays: Any) -> Any:
        for name, array in arrays.items():
            binding.bind_cpu_input(name, array)
        for name in outputs:
            # Anew: what was allocated for the last call has its size.
            binding.bind_output(name)
        session.run_with_iobinding(binding)
        return {name: value.numpy() for name, value in zip(outputs, binding.get_outputs(), strict=False)}

    return run
