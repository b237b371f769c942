"""ExecuTorch on the CPU, through the Python bindings of its wheel."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np


def versions() -> dict[str, str]:
    """Versions of the runtime's package and of torch, which the bindings link against."""
    return {"executorch": version("executorch"), "torch": version("torch")}


def prepare(threads: int) -> None:
    """Import the runtime and size its thread pool, which must happen before the first load: later it hangs or crashes."""
    bindings = _bindings()
    # Registers the portable kernels of quantize and dequantize, for those that no delegate has taken.
    import executorch.kernels.quantized  # noqa: F401
    import torch

    torch.set_num_threads(1)
    bindings._unsafe_reset_threadpool(threads)


def load(path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Open `path` (.pte) and return its forward function, float32 [1, C, H, W] or uint8 [1, H, W, C] -> float32 [1, classes]."""
    import torch

    bindings = _bindings()
    if (size := bindings._threadpool_get_thread_count()) != threads:
        raise ValueError(f"the thread pool has {size} threads and {threads} were asked for: call prepare({threads}) before load")
    program = bindings._load_program(path, program_verification=bindings.Verification.InternalConsistency)
    method = program.load_method("forward")

    def forward(image: np.ndarray) -> np.ndarray:
        # `program` owns the memory that `method` runs in; naming it here keeps it alive as long as this function.
        _ = program
        # The tensor lies in planned memory that the next call overwrites: it is copied once, here.
        (output,) = method.call([torch.from_numpy(image)], clone_outputs=False)
        return output.numpy().copy()

    return forward


def _bindings() -> Any:
    # torch first: it loads the libraries that the bindings link against. The documented `portable_lib` gives the same module, but imports
    # the whole exporter for a decorator: about 5 s and 200 MB more in every process.
    import torch  # noqa: F401
    from executorch.extension.pybindings import _C

    return _C
