"""The records that parts of the package give each other. They are JSON on the disk and in `--json`, and nowhere else.

Free of torch, and fast to import.
"""

from edgedistill.records.artifacts import Artifact, ArtifactSpec, Lowered, NotLowered
from edgedistill.records.base import Record, Unavailable
from edgedistill.records.metric import Metric
from edgedistill.records.results import (
    ArtifactResult,
    Budget,
    Delegation,
    Disagreement,
    Divergence,
    OutputError,
    Pair,
    Quantization,
    Score,
    Scores,
    UnknownDelegation,
)
from edgedistill.records.verdicts import Comparison, Execution, Latency, Load, Parity, Status

__all__ = [
    "Artifact",
    "ArtifactResult",
    "ArtifactSpec",
    "Budget",
    "Comparison",
    "Delegation",
    "Disagreement",
    "Divergence",
    "Execution",
    "Latency",
    "Load",
    "Lowered",
    "Metric",
    "NotLowered",
    "OutputError",
    "Pair",
    "Parity",
    "Quantization",
    "Record",
    "Score",
    "Scores",
    "Status",
    "Unavailable",
    "UnknownDelegation",
]
