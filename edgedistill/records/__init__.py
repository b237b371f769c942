"""The records that parts of the package give each other. They are JSON on the disk and in `--json`, and nowhere else.

Free of torch, and fast to import.
"""

from edgedistill.records.artifacts import Artifact, ArtifactSpec, Lowered
from edgedistill.records.base import Record, Unavailable
from edgedistill.records.results import (
    Accuracy,
    ArtifactResult,
    Budget,
    Delegation,
    Divergence,
    Pair,
    Quantization,
    Score,
    UnknownDelegation,
)
from edgedistill.records.verdicts import Comparison, Execution, Latency, Load, Parity, Status

__all__ = [
    "Accuracy",
    "Artifact",
    "ArtifactResult",
    "ArtifactSpec",
    "Budget",
    "Comparison",
    "Delegation",
    "Divergence",
    "Execution",
    "Latency",
    "Load",
    "Lowered",
    "Pair",
    "Parity",
    "Quantization",
    "Record",
    "Score",
    "Status",
    "Unavailable",
    "UnknownDelegation",
]
