"""Core ML itself, on a Mac, through coremltools: what elsewhere `edgedistill.verify` executes operator by operator."""

import platform
from collections.abc import Callable
from importlib.metadata import version

import numpy as np


def versions() -> dict[str, str]:
    """Versions of the package and of the operating system, whose runtime it is."""
    return {"coremltools": version("coremltools"), "macos": platform.mac_ver()[0]}


def prepare(threads: int) -> None:
    """Import coremltools; Core ML chooses its own threads."""
    import coremltools  # noqa: F401


def load(path: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Open `path` (.mlpackage) on all compute units, as an app does by default.

    Returns its forward function: float32 [1, C, H, W], or uint8 [1, H, W, 3] where the file takes an image, to float32 [1, classes].
    """
    import coremltools as ct

    model = ct.models.MLModel(path, compute_units=ct.ComputeUnit.ALL)
    description = model.get_spec().description
    inputs, outputs = ([port.name for port in ports] for ports in (description.input, description.output))
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(f"{path}: expected one input and one output, found inputs {inputs} and outputs {outputs}")
    takes_image = description.input[0].type.WhichOneof("Type") == "imageType"

    def forward(image: np.ndarray) -> np.ndarray:
        given = _picture(image) if takes_image else image
        return np.array(model.predict({inputs[0]: given})[outputs[0]], np.float32)

    return forward


def _picture(pixels: np.ndarray):  # type: ignore[no-untyped-def]
    from PIL import Image

    return Image.fromarray(pixels[0])
