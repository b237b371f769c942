"""Layers of a Core ML program whose values endanger float16, with the sample that drives them there.

`python -m edgedistill.backends.coreml.ranges PACKAGE SAMPLES.npy...` prints the `Scan` of a package as JSON.
"""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import torch

from edgedistill.backends.coreml.mil import float64 as mil
from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.backends.coreml.mil.float16 import FLOAT16_MAX, all_finite, largest
from edgedistill.backends.coreml.mil.ops import MOVERS
from edgedistill.backends.coreml.mil.program import Step, Value
from edgedistill.backends.coreml.mil.values import Tensor
from edgedistill.records import Record, Unavailable
from edgedistill.records.summary import Float16Value

ENDANGERED = 0.25
"""Share of float16's range above which a layer is endangered: images that were not seen may reach four times as far."""


@dataclass
class LayerRange:
    """How far one operation goes over all samples."""

    name: str
    operator: str
    largest: float
    """Largest magnitude of its results; infinite where finite arguments gave an infinite result."""
    sample: int
    """Index of the image that gave it."""
    share: float
    """`largest` as a share of 65504."""
    overflows: bool
    """Whether float16 cannot hold it."""


class Scan(Record):
    """The endangered layers of a package, and the one that goes farthest, whose share tells how far off danger is."""

    layers: list[Float16Value]
    largest: Float16Value | Unavailable


def float16_ranges(path: str, *samples: np.ndarray, endangered: float = ENDANGERED) -> list[LayerRange]:
    """The layers of the package `path` that go past `endangered` of float16's range, in the order of the program.

    samples: [N, ...] for each input in their order, run one at a time; of an image its pixels, uint8 [N, H, W, 3]. Computed in
    float64, so that one overflow does not hide those behind it. Every floating-point operation counts, whatever its
    declared type: of a float32 program the list tells what its float16 twin would meet. Operations that only move values
    are left out. Raises ValueError as `mil.load` does.
    """
    ranges: dict[str, LayerRange] = {}
    sample = 0

    def after(step: Step, arguments: Mapping[str, Value], results: list[Tensor]) -> list[Tensor]:
        if step.operator not in MOVERS:
            for result, kind in zip(results, step.types, strict=True):
                if kind in ("fp16", "fp32"):
                    _note(ranges, step, _reach(arguments, result), sample)
        return results

    # Not given to `read`: weights are constants of the file, which the converter has checked.
    program = mil_program.read(path)
    call = mil.forward(program, after=after)
    for sample, arrays in enumerate(zip(*samples, strict=True)):  # noqa: B007  `after` reads it
        call({name: array[None] for name, array in zip(program.inputs, arrays, strict=True)})
    return [layer for layer in ranges.values() if layer.share > endangered]


def _reach(arguments: Mapping[str, Value], result: Tensor) -> float:
    reach = largest(result)
    if not torch.isfinite(result.sum()) and not torch.isfinite(result).all() and all_finite(arguments):
        return float("inf")
    return reach


def _note(ranges: dict[str, LayerRange], step: Step, reach: float, sample: int) -> None:
    known = ranges.get(step.name)
    if known is None or reach > known.largest:
        # A value up to 65520 is rounded to 65504.
        ranges[step.name] = LayerRange(step.name, step.operator, reach, sample, reach / FLOAT16_MAX, reach >= 65520)


def scan(path: str, *samples: np.ndarray) -> Scan:
    """What endangers float16 in a package; arguments as of `float16_ranges`."""
    ranges = float16_ranges(path, *samples, endangered=0)
    most = max(ranges, key=lambda layer: layer.share, default=None)
    return Scan(
        layers=[_recorded(layer) for layer in ranges if layer.share > ENDANGERED],
        largest=Unavailable(unavailable="every value is 0") if most is None else _recorded(most),
    )


def _recorded(layer: LayerRange) -> Float16Value:
    if isfinite(layer.largest):
        return Float16Value(**asdict(layer))
    infinite = Unavailable(unavailable="the value is infinite")
    return Float16Value(**asdict(layer) | {"largest": infinite, "share": infinite})


def main() -> None:
    """Print the scan of the package of the command line, run on the samples that it names, a file for each input."""
    package, *files = sys.argv[1:]
    mil_program.prepare(1)
    print(scan(package, *(np.load(Path(name)) for name in files)).model_dump_json())


if __name__ == "__main__":
    main()
