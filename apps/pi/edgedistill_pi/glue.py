"""The package of glue code in a bundle's wheel. Its name follows from the model's, so it is imported by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import Mistake

if TYPE_CHECKING:
    # The packages of all image classifiers have the same types. For type checks the app takes those of the quickstart.
    from quickstart_model import BundleError, Frame, InputError, Model, ModelError, Plane

    Frames = Generator[tuple[str, Callable[[], Frame]], None, None]
    """Name of each frame, and the function that gives it."""


@dataclass(frozen=True)
class Glue:
    """What the app takes of the package.

    Attributes:
        wheel: The package's file, which has to be installed.
        frame_of: Reads an image file; it needs Pillow.
    """

    wheel: Path
    model: type[Model]
    frame: type[Frame]
    plane: type[Plane]
    frame_of: Callable[[Path], Frame]
    model_error: type[ModelError]
    bundle_error: type[BundleError]
    input_error: type[InputError]


def find(bundle: Path) -> Glue:
    """The package that belongs to a bundle. Raises Mistake if `bundle` has no wheel, or it is not installed."""
    if not (bundle / "manifest.json").is_file():
        raise Mistake(
            f"{bundle} has no manifest.json, expected the folder of a bundle (edgedistill export --target raspberry-pi)"
        )
    wheels = sorted(bundle.glob("python/*.whl"))
    if len(wheels) != 1:
        found = f"{len(wheels)} wheels" if wheels else "no wheel"
        raise Mistake(
            f"{bundle / 'python'} has {found}, expected one; copy the whole bundle, of a target with Python code"
        )
    name = wheels[0].name.partition("-")[0]
    # ONNX Runtime 1.32 reports to its makers unless this is set when it is loaded.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        package, files = import_module(name), import_module(f"{name}.files")
    except ModuleNotFoundError as error:
        if error.name == f"{name}.files":
            raise Mistake(f"{bundle} has a model without images, expected an image classifier") from error
        if error.name != name:
            raise Mistake(f"{name} needs the package {error.name}; install it with {install(wheels[0])}") from error
        how = f"{install(wheels[0])}, or another runtime instead of litert ({bundle / 'README.md'})"
        raise Mistake(f"the package {name} is not installed; install it with {how}") from error
    return Glue(
        wheels[0], package.Model, package.Frame, package.Plane, files.frame_of,
        package.ModelError, package.BundleError, package.InputError,
    )  # fmt: skip


def install(wheel: Path, extras: str = "litert,images") -> str:
    """The command that installs the wheel of a bundle with what it needs."""
    return f"`pip install '{wheel}[{extras}]'`"
