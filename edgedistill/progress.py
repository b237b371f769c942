"""Shows progress on stderr: a bar with the remaining time on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from edgedistill import processes

_LINE_EVERY_S = 10.0


class Tracker(Protocol):
    """Shows the progress of one piece of work; `advance` counts what is done."""

    def advance(self, n: int = 1, **info: object) -> None:
        """Count `n` more units as done; `info` appears beside the bar."""


def log(message: str) -> None:
    """Write one line to stderr, so that stdout stays free for the result."""
    if processes.is_main():
        print(message, file=sys.stderr, flush=True)


def _text(info: dict[str, object]) -> str:
    return " ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in info.items())


class _PlainTracker:
    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done = description, total, 0
        self.started = self.last = time.monotonic()

    def advance(self, n: int = 1, **info: object) -> None:
        self.done += n
        now = time.monotonic()
        if self.done < self.total and now - self.last < _LINE_EVERY_S:
            return
        self.last = now
        # Nothing tells how long the rest takes before a unit is done.
        left = f", {(now - self.started) / self.done * (self.total - self.done):.0f} s left" if self.done else ""
        log(f"{self.description}: {self.done}/{self.total}, {now - self.started:.0f} s{left} {_text(info)}".rstrip())


class _BarTracker:
    def __init__(self, progress, task) -> None:  # type: ignore[no-untyped-def]
        self.progress, self.task = progress, task

    def advance(self, n: int = 1, **info: object) -> None:
        self.progress.update(self.task, advance=n, info=_text(info))


@contextmanager
def track(description: str, total: int) -> Iterator[Tracker]:
    """Show the progress of `total` units of work named `description`."""
    if not (sys.stderr.isatty() and processes.is_main()):
        yield _PlainTracker(description, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _BarTracker(progress, progress.add_task(description, total=total, info=""))
