"""ONNX Runtime on the CPU."""

import os
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

NAME = PACKAGE = "onnxruntime"


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
    # On processors without VNNI, faster int8 kernels saturate; this takes exact ones. Others ignore it.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = list(outputs)
    return lambda arrays: dict(zip(names, session.run(names, dict(arrays)), strict=True)), session.get_providers()[0]
