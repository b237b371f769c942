"""ExecuTorch on the CPU, by the package executorch-numpy-runtime, which needs no torch."""

import mmap
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


def lacks(path: str) -> str | None:
    """Why the runtime can't run a file that was made for ExecuTorch; None where it can."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"llama::") < 0:
            return None
    return (
        f"it has attention over a cache, of which {PACKAGE} has no kernels; take an .onnx file, or run it by ExecuTorch's own libraries, "
        "which have the kernels of language models"
    )


def load(path: str, threads: int, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[Callable[[Any], Any], str]:
    """Open a file. Returns the function from named arrays to named arrays, and what computes it.

    threads: the package can't set them; it takes all cores.
    """
    from executorch_numpy_runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    names = list(outputs)
    return lambda arrays: dict(zip(names, method([arrays[name] for name in inputs]), strict=True)), "XNNPACK"
