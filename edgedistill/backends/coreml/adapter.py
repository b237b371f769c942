"""Core ML itself, on a Mac, through coremltools: what elsewhere `mil` executes operator by operator."""

import platform
from importlib.metadata import version
from typing import Any

import numpy as np

from edgedistill.measure.runner.naming import Signature, matched, types_of
from edgedistill.measure.runner.samples import Arrays, Forward


def versions() -> dict[str, str]:
    """Versions of the package and of the operating system, whose runtime it is."""
    return {"coremltools": version("coremltools"), "macos": platform.mac_ver()[0]}


def prepare(threads: int) -> None:
    """Import coremltools; Core ML chooses its own threads."""
    import coremltools  # noqa: F401


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """Open `path` (.mlpackage) on all compute units, as an app does by default; its forward function takes and gives named arrays.

    signature: names and types of inputs and outputs, in their order; without it names are those of the file, and outputs are float32.
    An image is given as its pixels, uint8 [1, H, W, 3]. A state is zero at first and keeps what one call wrote for the next.
    """
    import coremltools as ct

    model = ct.models.MLModel(path, compute_units=ct.ComputeUnit.ALL)
    description = model.get_spec().description
    ports = {port.name: port.type.WhichOneof("Type") == "imageType" for port in description.input}
    inputs = matched(list(ports), signature, "inputs")
    outputs = matched([port.name for port in description.output], signature, "outputs")
    dtypes = types_of(signature, outputs)
    state = model.make_state() if description.state else None

    def forward(arrays: Arrays) -> Arrays:
        predictions = model.predict({own: _given(arrays[name], ports[own]) for name, own in inputs.items()}, state)
        return {name: np.array(predictions[own], dtypes[name]) for name, own in outputs.items()}

    return forward


def _given(array: np.ndarray, image: bool) -> Any:
    if image:
        from PIL import Image

        return Image.fromarray(array[0])
    # Core ML has no longer integers.
    return array.astype(np.int32) if array.dtype == np.int64 else array
