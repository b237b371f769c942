"""What a self-test found: how far this machine is from the one that exported the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .model import Info


@dataclass(frozen=True)
class OutputDifference:
    """The largest difference of an output from its golden values, and the sample that has it."""

    name: str
    largest: float
    tolerance: float
    worst_sample: int

    @property
    def ok(self) -> bool:
        """Whether the difference is within the tolerance; NaN never is."""
        return self.largest <= self.tolerance


@dataclass(frozen=True)
class FrameDifference:
    """The largest difference of a prepared frame from its golden pixels, in steps of 1/255."""

    number: int
    largest: int


@dataclass(frozen=True)
class SelfTest:
    """The result of a self-test."""

    info: Info
    outputs: Sequence[OutputDifference]
    frames: Sequence[FrameDifference] = ()
    texts: Sequence[str] = ()
    """Golden texts that are tokenized in another way than in training."""
    decisions_changed: int | None = None
    routes_wrong: int = 0
    """Golden rows of the router's table that are decided in another way than where it was made."""

    @property
    def ok(self) -> bool:
        """Whether everything is within its tolerance."""
        frames = all(frame.largest == 0 for frame in self.frames)
        return all(output.ok for output in self.outputs) and frames and not self.texts and not self.routes_wrong

    def describe(self) -> str:
        """The result in words, a line for each part."""
        info = self.info
        lines = [f"{info.artifact} on {info.runtime} {info.version} ({info.delegate}): {'ok' if self.ok else 'FAILED'}"]
        for output in self.outputs:
            verdict = "ok" if output.ok else f"FAILED, first in sample {output.worst_sample}"
            lines.append(f"  {output.name}: largest difference {output.largest:.3g}, allowed {output.tolerance:.3g}: {verdict}")
        for frame in self.frames:
            verdict = "ok" if frame.largest == 0 else "FAILED: frames are prepared in another way than in training"
            lines.append(f"  frame {frame.number}: largest difference {frame.largest} of 255: {verdict}")
        lines += [f"  text {text[:40]!r}: FAILED: it is tokenized in another way than in training" for text in self.texts]
        if self.routes_wrong:
            lines.append(f"  router: FAILED: {self.routes_wrong} row(s) of its table are decided in another way than where it was made")
        if self.decisions_changed:
            lines.append(f"  {self.decisions_changed} prediction(s) changed")
        return "\n".join(lines)


def compare(info: Info, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: Mapping[str, float]) -> SelfTest:
    """Compare outputs [count, ...] with golden ones, by name."""
    outputs = []
    for name, values in expected.items():
        differences = np.abs(found[name].astype(np.float64) - values.astype(np.float64)).reshape(len(values), -1).max(axis=1)
        worst = int(np.nanargmax(differences)) if np.isfinite(differences).any() else 0
        largest = float("nan") if np.isnan(differences).any() else float(differences.max())
        outputs.append(OutputDifference(name, largest, tolerance[name], worst))
    return SelfTest(info, outputs)
