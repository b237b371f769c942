"""Core AI's own runtime: on a Mac that of the operating system, elsewhere the interpreter in the package coreai-core.

Seen on Linux. For a Mac it follows the documentation of `AIModelAsset.executable` (coreai-core 1.0.0b3): there it opens the asset with the
system's framework, and here it lowers it for the interpreter first. `AIModel.load` would do only the former.
"""

import asyncio
import platform
import weakref
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

import numpy as np

from edgedistill.measure.runner.naming import Signature, matched, types_of
from edgedistill.measure.runner.samples import Arrays, Forward


def versions() -> dict[str, str]:
    """Version of the runtime's package, and on a Mac of the operating system, whose runtime it is."""
    mac = {"macos": platform.mac_ver()[0]} if platform.system() == "Darwin" else {}
    return {"coreai-core": version("coreai-core")} | mac


def prepare(threads: int) -> None:
    """Import the runtime; it chooses its own threads."""
    import coreai.authoring  # noqa: F401


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """Open `path` (.aimodel) and return its forward function, named arrays to named arrays.

    signature: names and types of inputs and outputs, in their order; without it they have those of the file.
    """
    from coreai.authoring import AIModelAsset
    from coreai.runtime import NDArray

    loop, opened = asyncio.new_event_loop(), AsyncExitStack()
    model = loop.run_until_complete(opened.enter_async_context(AIModelAsset.load(path).executable()))
    (name,) = model.function_names
    function = model.load_function(name)
    ports = function.desc
    inputs = matched(ports.input_names, signature, "inputs")
    outputs = matched(ports.output_names, signature, "outputs")
    dtypes = types_of(signature, outputs) if signature else dict.fromkeys(outputs)
    taken = {own: np.dtype(ports.input_descriptor(own).dtype) for own in inputs.values()}

    def forward(arrays: Arrays) -> Arrays:
        # It has no longer integers than of 32 bits.
        given: dict[str, Any] = {own: NDArray(np.asarray(arrays[name], taken[own], order="C")) for name, own in inputs.items()}
        results: dict[str, Any] = loop.run_until_complete(function(given))
        # A copy: what it gives is a view of memory of its own.
        return {name: np.array(results[own].numpy(), dtypes[name]) for name, own in outputs.items()}

    # The lowered file is in a temporary folder, which goes with the function, or when the process ends.
    weakref.finalize(forward, _close, loop, opened)
    return forward


def _close(loop: asyncio.AbstractEventLoop, opened: AsyncExitStack) -> None:
    loop.run_until_complete(opened.aclose())
    loop.close()
