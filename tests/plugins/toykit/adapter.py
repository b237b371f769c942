"""Runs .toy files for the runner; it needs numpy alone."""

from collections.abc import Callable
from typing import Any

import numpy as np

from toykit import runtime


def versions() -> dict[str, str]:
    """Version of the runtime."""
    return {"toykit": "0.1.0"}


def prepare(threads: int) -> None:
    """Nothing has to happen before a model is loaded."""


def load(path: str, threads: int, signature: dict[str, Any] | None = None) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Open `path` and return its forward function, named arrays to named arrays."""
    program, tensors = runtime.read(path)
    names = [port["name"] for port in program["inputs"]]

    def forward(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = runtime.execute(program, tensors, [arrays[name] for name in names])
        return {port["name"]: value for port, value in zip(program["outputs"], found, strict=True)}

    return forward
