"""The primary metric of a task and its words, as readers meet them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """The mean over samples of what `Task.score` gives. It is shown in percent, and its differences in points."""

    name: str
    """Its key in records, such as accuracy."""
    title: str
    """Its name for readers, in the middle of a sentence."""
    better: str = "more accurate"
    """What a model with a higher score is: "the student is 0.4 points more accurate"."""
    worse: str = "less accurate"
    tolerated: float = 0.003
    """How much of the score a quantized file may lose before the run warns."""
    described: str = "The share of samples whose prediction is right."
    """What a score means, in a sentence."""


@dataclass(frozen=True)
class Words:
    """What a task calls its things, in the middle of a sentence."""

    sample: str = "sample"
    samples: str = "samples"
    decision: str = "prediction"
    """What `Task.decide` gives for a sample; a flip is another one."""
    targets: str = "targets"
    """What outputs are scored against."""
    distance: str = "noise-to-signal ratio"
    """What `Task.distance` measures, with its unit."""
