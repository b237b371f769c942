"""ExecuTorch on the CPU, through the Python bindings of its wheel."""

import importlib.util
import mmap
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgedistill.measure.runner.naming import Signature
from edgedistill.measure.runner.samples import Arrays, Forward, text_of


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


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """Open `path` (.pte) and return its forward function, named arrays to named arrays.

    signature: names of inputs and outputs, in their order, of which the file keeps none; without it inputs are taken in the order in which
    they are given, and outputs are output_0, output_1 ... The size of a dimension that varies has a limit in the file.
    """
    import torch

    bindings = _bindings()
    if (size := bindings._threadpool_get_thread_count()) != threads:
        raise ValueError(f"the thread pool has {size} threads and {threads} were asked for: call prepare({threads}) before load")
    if needs_language_kernels(path):
        _load_language_kernels()
    program = bindings._load_program(path, program_verification=bindings.Verification.InternalConsistency)
    method = program.load_method("forward")

    inputs, outputs = names_of(signature)

    def forward(arrays: Arrays) -> Arrays:
        # `program` owns the memory that `method` runs in; naming it here keeps it alive as long as this function.
        _ = program
        tensors = [torch.from_numpy(arrays[name]) for name in inputs or arrays]
        try:
            results = method.call(tensors, clone_outputs=False)
        except RuntimeError as error:
            raise refused(path, arrays, error) from error
        # The tensors lie in planned memory that the next call overwrites: they are copied once, here.
        return {name: output.numpy().copy() for name, output in named(results, outputs)}

    return forward


def names_of(signature: Signature | None) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs, in their order; none without a signature."""
    if signature is None:
        return [], []
    inputs, outputs = ([spec["name"] for spec in signature[kind]] for kind in ("inputs", "outputs"))
    return inputs, outputs


def named(results: Sequence[Any], names: list[str]) -> list[tuple[str, Any]]:
    """What a method gave, with names. Raises ValueError where it gave more or less than there are names for."""
    if names and len(names) != len(results):
        raise ValueError(f"expected the outputs {', '.join(names)}, found {len(results)}")
    return list(zip(names or [f"output_{i}" for i in range(len(results))], results, strict=True))


def refused(path: str, arrays: Arrays, error: Exception) -> ValueError:
    """What to say of a call that failed: the runtime itself tells numbers only."""
    given = ", ".join(f"{name} {text_of(array)}" for name, array in arrays.items())
    return ValueError(f"{path} did not run on {given}, and may be made for other sizes: {error}")


def needs_language_kernels(path: str) -> bool:
    """Whether a file names operators of language models, which are no part of the runtime itself."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"llama::") >= 0


def _load_language_kernels() -> None:
    """Load the kernels of language models, from the library that `executorch.extension.llm.custom_ops` loads.

    That module imports PyTorch's compiler as well, which takes seconds.
    """
    import torch

    (place,) = importlib.util.find_spec("executorch").submodule_search_locations  # type: ignore[union-attr, misc]
    libraries = list(Path(place, "extension", "llm", "custom_ops").glob("*custom_ops_aot_lib.*"))
    if not libraries:
        raise ValueError("the file has attention over a cache, and this package of executorch has no kernels of language models")
    torch.ops.load_library(libraries[0])


def _bindings() -> Any:
    # torch first: it loads the libraries that the bindings link against. The documented `portable_lib` gives the same module, but imports
    # the whole exporter for a decorator: about 5 s and 200 MB more in every process.
    import torch  # noqa: F401
    from executorch.extension.pybindings import _C

    return _C
