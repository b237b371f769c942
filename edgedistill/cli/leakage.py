"""The command leakage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish

if TYPE_CHECKING:
    from edgedistill.records.leakage import LeakageDocument


def leakage(train: Path, holdout: Path, columns: list[str], *, as_json: bool) -> None:
    """Compare two sets of samples."""

    def work() -> LeakageDocument:
        from edgedistill.steps.leakage import leakage as compare

        return compare(train, holdout, columns)

    finish(as_json, work, _show)


def _show(document: LeakageDocument) -> None:
    found = document.overlap
    count = found.same + found.near + found.part
    print(f"{count:,} of {found.samples:,} {document.kind} of {document.train} stand in {document.holdout} ({found.kept:,}) too:")
    print(f"  {found.same:,} the same, {found.near:,} nearly the same, {found.part:,} a part of one")
    for one in found.examples:
        print(f"  {one.sample:>8}  {one.kind:<5} {one.likeness:.2f}  as {one.kept}")
    if count > len(found.examples):
        print(f"  and {count - len(found.examples):,} more")
    print("numbers count from 0, in the order of the file, or of the sorted paths")
