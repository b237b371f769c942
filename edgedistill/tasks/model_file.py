"""A file of a model with what an app needs to use it, and the runtime here that runs it. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ModelFile:
    """A file of a run or bundle. A child process is told it as JSON, so that paths are texts.

    adapter: the module that runs it. input: what it takes images as. files: `path` and `signature` of this file, then of those for other
    sizes. limits: of its signature. prompt_piece: how many tokens of a prompt a call takes; None for all of them. inputs, outputs, entries:
    the preprocessing and the further entries of a manifest. folder: has the files that these name.
    """

    task: str
    name: str
    sha256: str
    adapter: str
    executed_by: str
    input: str
    files: list[dict[str, Any]]
    limits: dict[str, int]
    prompt_piece: int | None
    inputs: dict[str, dict[str, JsonValue]]
    outputs: dict[str, dict[str, JsonValue]]
    entries: dict[str, JsonValue]
    folder: str

    def told(self) -> dict[str, Any]:
        """What a child process is told of it."""
        return asdict(self)

    def at(self, name: Any) -> Path:
        """The file `name` of the preprocessing."""
        return Path(self.folder) / str(name)

    def given(self, kind: str) -> tuple[str, dict[str, Any]]:
        """Name and facts of the input of a kind."""
        return next((name, dict(facts)) for name, facts in self.inputs.items() if facts["kind"] == kind)


class Loaded:
    """A file, and those for other sizes, in their runtime."""

    def __init__(self, file: ModelFile, threads: int) -> None:
        adapter: Any = import_module(file.adapter)
        adapter.prepare(threads)
        self._files = [(one["signature"]["inputs"], adapter.load(one["path"], threads, one["signature"])) for one in file.files]
        self.versions: dict[str, str] = adapter.versions()

    def sizes(self, name: str, axis: int) -> list[int]:
        """The sizes, rising, that the files have in a dimension of the input `name`; empty where it varies."""
        found = [spec["shape"][axis] for inputs, _ in self._files for spec in inputs if spec["name"] == name]
        return sorted(found) if all(isinstance(size, int) for size in found) else []

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of one call, by name, of the file that has the sizes of `inputs`."""
        forward = next(forward for specs, forward in self._files if all(_fits(inputs[spec["name"]], spec["shape"]) for spec in specs))
        outputs: dict[str, np.ndarray] = forward(inputs)
        return outputs


def _fits(array: np.ndarray, shape: list[int | str]) -> bool:
    sizes = zip(array.shape, shape, strict=True)
    return all(isinstance(size, str) or size == mine for mine, size in sizes)
