"""ExecuTorch on the CPU, by the package executorch-numpy-runtime, which needs no torch."""

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

NAME, PACKAGE = "executorch", "executorch-numpy-runtime"


def version() -> str:
    """Version of the installed runtime. Raises ImportError without one."""
    try:
        return version_of(PACKAGE)
    except PackageNotFoundError as error:
        raise ImportError(f"{PACKAGE} is not installed") from error


def load(path: str, threads: int, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[Callable[[Any], Any], str]:
    """Open a file. Returns the function from named arrays to named arrays, and what computes it.

    threads: the package can't set them; it takes all cores.
    """
    from executorch_numpy_runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    names = list(outputs)
    return lambda arrays: dict(zip(names, method([arrays[name] for name in inputs]), strict=True)), "XNNPACK"
