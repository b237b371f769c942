"""What a task is given to write its sections of the report, and what it writes them of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from edgedistill.records.sections import Bin, Block, Cell, Chart, ConfusionMatrix, ReliabilityDiagram, Section, Table
from edgedistill.tasks.data import DataFacts

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Bin", "Block", "Cell", "Chart", "ConfusionMatrix", "ReliabilityDiagram", "Results", "Section", "Table", "Trial"]


@dataclass(frozen=True)
class Trial:
    """What a model did with whole samples: the figures that the task returned, and the folder that it wrote."""

    figures: Mapping[str, JsonValue]
    folder: Path


@dataclass(frozen=True)
class Results:
    """What a task can tell about: the outputs of each rung and artifact on val, and the targets."""

    facts: DataFacts
    shipped: str
    """The rung that int8 files are held to, or the student where there is none."""
    outputs: Callable[[str], Mapping[str, np.ndarray] | None]
    """The outputs [N, ...] of a rung or artifact, by name; None where it was not run."""
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    """[N, ...] by the name of the output; empty without any."""
    artifacts: tuple[str, ...] = ()
    """Names of the student's files."""
    trials: Mapping[str, Trial] = field(default_factory=dict)
    """Of each rung and file that was tried, by its name."""
    answers: Mapping[str, Any] | None = None
    """The figures of the answers that the teacher wrote, as `Task.write_answers` returned them; None where it wrote none."""
