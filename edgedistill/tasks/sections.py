"""What a task is given to write its sections of the report, and what it writes them of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgedistill.records.sections import Bin, Block, Cell, Chart, ConfusionMatrix, ReliabilityDiagram, Section, Table
from edgedistill.tasks.data import DataFacts

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Bin", "Block", "Cell", "Chart", "ConfusionMatrix", "ReliabilityDiagram", "Results", "Section", "Table"]


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
