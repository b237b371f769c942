"""ExecuTorch on the CPU through executorch-numpy-runtime, which needs no torch: the adapter of phones and boards."""

import ctypes
from importlib.metadata import version
from typing import Any

from edgedistill.backends.executorch import adapter as executorch
from edgedistill.measure.runner.naming import Signature
from edgedistill.measure.runner.refusal import NotExecutable
from edgedistill.measure.runner.samples import Arrays, Forward

# The package has no Python interface to the thread pool, but its library exports ExecuTorch's own functions; these are their mangled names.
_POOL = "_ZN10executorch9extension10threadpool14get_threadpoolEv"
_RESET = "_ZN10executorch9extension10threadpool10ThreadPool24_unsafe_reset_threadpoolEj"
_COUNT = "_ZNK10executorch9extension10threadpool10ThreadPool16get_thread_countEv"


def versions() -> dict[str, str]:
    """Version of the runtime's package."""
    return {"executorch-numpy-runtime": version("executorch-numpy-runtime")}


def prepare(threads: int) -> None:
    """Import the runtime and size its thread pool, which must happen before the first load."""
    _call(_RESET, ctypes.c_bool, _pool(), ctypes.c_uint32(threads))


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """Open `path` (.pte) and return its forward function; see `adapter.load`.

    Raises NotExecutable for the file of a language model, of whose kernels the package has none.
    """
    if executorch.needs_language_kernels(path):
        raise NotExecutable(
            "it has attention over a cache, of which executorch-numpy-runtime has no kernels: take the .onnx, or install executorch"
        )
    from executorch_numpy_runtime import Runtime

    if (size := _call(_COUNT, ctypes.c_size_t, _pool())) != threads:
        raise ValueError(f"the thread pool has {size} threads and {threads} were asked for: call prepare({threads}) before load")
    method = Runtime.get().load_program(path).load_method("forward")

    inputs, outputs = executorch.names_of(signature)

    def forward(arrays: Arrays) -> Arrays:
        try:
            # The runtime copies its outputs, so that the next call cannot change what this one returned.
            results = method([arrays[name] for name in inputs or arrays])
        except RuntimeError as error:
            raise executorch.refused(path, arrays, error) from error
        return dict(executorch.named(results, outputs))

    return forward


def _pool() -> ctypes.c_void_p:
    if (address := _call(_POOL, ctypes.c_void_p)) is None:
        raise ValueError(
            "ExecuTorch has no thread pool here, since it cannot tell the processors from /proc/cpuinfo and /sys: are both mounted?"
        )
    return ctypes.c_void_p(address)


def _call(symbol: str, result: Any, *arguments: Any) -> Any:
    from executorch_numpy_runtime import _core

    # The same file again gives the library that is loaded already.
    function = ctypes.CDLL(_core.__file__)[symbol]
    function.restype = result
    return function(*arguments)
