"""Measures a ledger of teaching sets: rows appended a second, time to verify, time to find one example, bytes a row.

    python benchmarks/teach/ledger.py --rows 10000000

It prints a line of Markdown for the table of docs/ledger.md, with processor time beside wall time, and removes what it wrote.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.teach.ledger import lookup
from edgedistill.teach.ledger.ledger import Ledger
from edgedistill.teach.ledger.verify import verify

_AT_ONCE = 1 << 20


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What `work` gives, its seconds, and its seconds of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def append(ledger: Ledger, rows: int) -> None:
    """Append `rows` random examples."""
    draw = np.random.default_rng(0)
    with ledger.appending() as writer:
        about = writer.note("set", {"source": "random", "licence": "CC0-1.0", "splits": {"train": rows}})
        for start in range(0, rows, _AT_ONCE):
            count = min(_AT_ONCE, rows - start)
            examples = draw.integers(0, 2**64, (count, 2), dtype=np.uint64)
            writer.examples(about, examples, np.arange(start, start + count), draw.integers(0, 3, count), 0)
        writer.note("used", {"run": "random"}, about=about)


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--lookups", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger")
        _, appended, appended_cpu = timed(lambda: append(ledger, arguments.rows))
        size = sum(path.stat().st_size for path in ledger.folder.iterdir()) / arguments.rows
        checked, verified, verified_cpu = timed(lambda: verify(ledger))
        if checked.status != "ok":
            raise RuntimeError(f"the ledger is not verified: {checked.problems}")
        seconds = []
        for row in np.random.default_rng(1).integers(1, arguments.rows, arguments.lookups).tolist():
            example = lookup.example_of(ledger, row)
            found, took, _ = timed(lambda example=example: lookup.example(ledger, example))  # type: ignore[misc]
            if row not in [entry.row for entry in found.entries]:
                raise RuntimeError(f"row {row} is not found by its hash")
            seconds.append(took)
    print(
        f"| {arguments.rows:,} | {arguments.rows / appended:,.0f} ({appended_cpu:.1f} s CPU in all) | {verified:.1f} s "
        f"({verified_cpu:.1f} s CPU) | {np.median(seconds):.2f} s, {max(seconds):.2f} s at most | {size:.1f} |"
    )


if __name__ == "__main__":
    main()
