"""How near a student's outputs are to those that a teacher gave for recorded arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue

from edgedistill.tasks.model_file import Loaded, ModelFile
from edgedistill.tasks.shadowed import CallShadow, NotComparable, compared


def arrays_of(row: Mapping[str, Any], field: str, folder: Path) -> JsonValue:
    """`inputs` or `outputs` of a line of traces: numbers in lists, or paths of .npy files from `folder`, by name.

    Raises ValueError where it has none.
    """
    found = row.get(field)
    if not isinstance(found, dict) or not found:
        raise ValueError(f"found {', '.join(map(str, row)) or 'nothing'}, expected {field}, an object with an array for each name")
    for name, value in found.items():
        if isinstance(value, str) and not (folder / value).is_file():
            raise ValueError(f"{field}.{name}: found no file {folder / value}")
    return {name: str((folder / value).absolute()) if isinstance(value, str) else value for name, value in found.items()}


def shadow(
    file: ModelFile, score: Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], np.ndarray], least: float, threads: int
) -> CallShadow:
    """A student whose outputs agree with the teacher's where their `score`, as of the task, is `least` or more."""
    signature = file.files[0]["signature"]

    def compare(outputs: Mapping[str, np.ndarray], answer: Mapping[str, Any]) -> dict[str, Any]:
        expected = _read(answer, signature["outputs"])
        if any(outputs[name].shape != values.shape for name, values in expected.items()):
            raise NotComparable("the outputs have other sizes than the student's")
        near = float(score(outputs, expected)[0])
        return compared(None if near >= least else "value", similarity=near)

    # Nobody can judge arrays.
    return CallShadow(Loaded(file, threads), lambda request: _read(request, signature["inputs"]), compare, people=False)


def _read(given: Mapping[str, Any], specs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays of `specs`, [1, ...] each, of what `arrays_of` gave."""
    if given.keys() != {spec["name"] for spec in specs}:
        raise NotComparable(f"the names are not {', '.join(spec['name'] for spec in specs)}")
    arrays = {}
    for spec in specs:
        value, shape = given[spec["name"]], spec["shape"]
        try:
            array = np.load(value, allow_pickle=False) if isinstance(value, str) else np.array(value)
            array = array.astype(spec["dtype"], casting="same_kind" if isinstance(value, str) else "unsafe")
        except (OSError, ValueError, TypeError) as error:
            raise NotComparable(f"the array {spec['name']} can't be read") from error
        array = array[None] if array.ndim == len(shape) - 1 else array
        if array.ndim != len(shape) or any(isinstance(size, int) and size != mine for size, mine in zip(shape, array.shape, strict=True)):
            raise NotComparable(f"the array {spec['name']} has another shape than the model's")
        arrays[spec["name"]] = np.ascontiguousarray(array)
    return arrays
