"""The load of the processors, in total and without the measured process, from /proc/stat."""

import os
from collections.abc import Iterator

from edgedistill.measure.runner.sensors.base import Missing, Scope, Source, text, why
from edgedistill.measure.runner.sensors.memory import tree

_NAMES = ("load.cpu", "load.others")


def find(scope: Scope) -> Iterator[Source | Missing]:
    """load.cpu: busy share of all cores since the last sweep, 0 to 1; load.others: the same without the process and its children."""
    proc = scope.root / "proc"

    def totals() -> tuple[int, int]:
        """Clock ticks of all cores: in total, and busy. Steal time counts as busy: another virtual machine uses the core."""
        fields = [int(field) for field in text(f"{proc}/stat").split(maxsplit=9)[1:9]]
        return sum(fields), sum(fields) - fields[3] - fields[4]

    def own() -> int:
        return sum(_ticks(f"{proc}/{pid}/stat") for pid in (*tree(proc, scope.pid), os.getpid()))

    try:
        before = [*totals(), own()]
    except (OSError, ValueError, IndexError) as error:
        yield from (Missing(name, "1", why(error)) for name in _NAMES)
        return

    def read() -> dict[str, float]:
        total, busy, mine = *totals(), own()
        spent = total - before[0]
        if spent <= 0:
            return {}
        share, others = (busy - before[1]) / spent, (busy - before[1] - (mine - before[2])) / spent
        before[:] = total, busy, mine
        return {"load.cpu": min(max(share, 0.0), 1.0), "load.others": min(max(others, 0.0), 1.0)}

    yield Source(dict.fromkeys(_NAMES, "1"), "/proc/stat, less utime and stime of /proc/PID/stat for load.others", read)


def _ticks(stat: str) -> int:
    """User and system time of a process in clock ticks, 0 if it is gone: fields 14 and 15, which come after the name in brackets."""
    try:
        fields = text(stat).rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
