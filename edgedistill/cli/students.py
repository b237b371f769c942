"""The command students."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish
from edgedistill.records import Delegation, Latency

if TYPE_CHECKING:
    from edgedistill.records.students import ComparedStudent, StudentComparison


def students(
    names: list[str], target: str, runs_dir: Path, *, device: str, classes: int, image_size: int, activation: str | None, threads: int,
    max_ms: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Compare the models `names` for a target."""

    def work() -> StudentComparison:
        from edgedistill.errors import UserError

        if device != "local":
            raise UserError(
                f"found device '{device}', expected local: students are compared on this machine only; bench measures on devices"
            )
        if activation not in (None, "relu", "relu6"):
            raise UserError(f"found --activation {activation}, expected relu or relu6")
        from edgedistill.steps.students import students as compare

        asked = {"classes": classes, "image_size": image_size, "threads": threads}
        return compare(names, target, runs_dir, activation=activation, max_ms=max_ms, **asked)

    finish(as_json, work, _show)


def _show(comparison: StudentComparison) -> None:
    from rich.table import Table

    from edgedistill.cli.tables import console

    limit = comparison.max_ms
    title = f"int8 {comparison.format} for {comparison.target} on {comparison.device}, {comparison.image_size} pixels"
    table = Table(title=title)
    table.add_column("model", no_wrap=True)
    for name in ("parameters", "MACs", "size", "p50 ms", "p95 ms", "partitions"):
        table.add_column(name, justify="right")
    table.add_column("left to slow kernels")
    if limit is not None:
        table.add_column(f"<= {limit:g} ms")
    for student in comparison.students:
        cells = _cells(student)
        table.add_row(*cells, *([] if limit is None or student.error is not None else ["yes" if student.fits else "no"]))
    console().print(table)
    if limit is not None:
        fitting = [student.model for student in comparison.students if student.fits]
        print(f"within {limit:g} ms: {', '.join(fitting) or 'none of them'}")


def _cells(student: ComparedStudent) -> list[str]:
    macs = f"{student.macs / 1e6:.1f} M" if isinstance(student.macs, int) else "-"
    cells = [student.model, f"{student.parameters / 1e6:.2f} M", macs]
    if student.error is not None:
        return [*cells, "-", "-", "-", "-", student.error.splitlines()[0][:100]]
    cells.append(f"{student.bytes / 1024:.0f} KiB" if isinstance(student.bytes, int) else "-")
    times = (student.latency_ms.p50, student.latency_ms.p95) if isinstance(student.latency_ms, Latency) else (None, None)
    cells += [f"{time:.2f}" if isinstance(time, float) else "-" for time in times]
    if not isinstance(student.delegation, Delegation):
        return [*cells, "-", "-"]
    outside = ", ".join(f"{count} {name}" for name, count in student.delegation.outside.items())
    return [*cells, str(student.delegation.partitions), outside or "nothing"]
