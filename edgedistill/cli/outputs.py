"""Shows how far each output of each file is from that of the model in floating point."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedistill.records import ArtifactResult


def outputs_table(artifacts: Iterable[ArtifactResult]) -> Any:
    """A row for each output of each artifact that ran."""
    from rich.table import Table

    table = Table(title="Outputs against the model in floating point; differences are shares of the output's range")
    for title in ("artifact", "output", "largest difference", "mean", "worst sample", "SNR in dB"):
        table.add_column(title)
    for artifact in artifacts:
        for name, error in artifact.outputs.items() if isinstance(artifact.outputs, dict) else ():
            worst = "-" if error.worst is None else str(error.worst)
            snr = "-" if error.snr_db is None else f"{error.snr_db:.1f}"
            table.add_row(artifact.name, name, _share(error.largest), _share(error.mean), worst, snr)
    return table


def _share(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2%}"
