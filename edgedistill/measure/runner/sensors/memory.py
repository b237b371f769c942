"""Memory of the measured process and its children, from /proc."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from edgedistill.measure.runner.sensors.base import Missing, Scope, Source, text, why

# The kernel walks all page tables of the process for its proportional share: milliseconds with the process's memory map locked.
_PSS_INTERVAL_S = 5.0
_STATUS = {"memory.rss": "VmRSS", "memory.hwm": "VmHWM", "memory.swap": "VmSwap"}
_NAMES = {field: name for name, field in _STATUS.items()}
_FIELD = re.compile(rf"^({'|'.join(_NAMES)}):\s*(\d+) kB", re.MULTILINE)


def find(scope: Scope) -> Iterator[Source | Missing]:
    """memory.rss, memory.hwm, memory.swap and memory.pss in bytes, each summed over the process and its children."""
    proc = scope.root / "proc"
    whole = "the process and its children" if _tells_children(proc, scope.pid) else "the process; this kernel does not list its children"
    try:
        known = _status(proc, [scope.pid])
    except OSError as error:
        yield from (Missing(name, "bytes", why(error)) for name in (*_STATUS, "memory.pss"))
        return
    yield Source(
        dict.fromkeys(known, "bytes"),
        f"{', '.join(_STATUS[name] for name in known)} of /proc/PID/status, summed over {whole}",
        lambda: _status(proc, tree(proc, scope.pid)),
    )
    yield from (Missing(name, "bytes", f"/proc/{scope.pid}/status has no {_STATUS[name]}") for name in _STATUS if name not in known)
    try:
        _pss(proc, [scope.pid])
    except (OSError, ValueError) as error:
        yield Missing("memory.pss", "bytes", why(error))
        return
    yield Source(
        {"memory.pss": "bytes"},
        f"Pss of /proc/PID/smaps_rollup, summed over {whole}",
        lambda: {"memory.pss": _pss(proc, tree(proc, scope.pid))},
        _PSS_INTERVAL_S,
    )


def tree(proc: Path, pid: int) -> list[int]:
    """`pid` and what it started, without this sampling process; only `pid` where the kernel has no CONFIG_PROC_CHILDREN."""
    processes, waiting = list[int](), [pid]
    while waiting:
        current = waiting.pop()
        processes.append(current)
        try:
            tasks = f"{proc}/{current}/task"
            lists = [text(f"{tasks}/{task}/children") for task in os.listdir(tasks)]
        except OSError:
            continue
        waiting += [int(child) for line in lists for child in line.split() if int(child) != os.getpid()]
    return processes


def _tells_children(proc: Path, pid: int) -> bool:
    return (proc / str(pid) / "task" / str(pid) / "children").exists()


def _status(proc: Path, pids: list[int]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for status in _each(proc, pids, "status"):
        for field, kilobytes in _FIELD.findall(status):
            name = _NAMES[field]
            sums[name] = sums.get(name, 0.0) + int(kilobytes) * 1024
    return sums


def _pss(proc: Path, pids: list[int]) -> float:
    lines = [re.search(r"^Pss:\s*(\d+) kB", rollup, re.MULTILINE) for rollup in _each(proc, pids, "smaps_rollup")]
    if None in lines:
        raise ValueError("smaps_rollup has no Pss")
    return float(sum(int(line[1]) * 1024 for line in lines if line))


def _each(proc: Path, pids: list[int], name: str) -> Iterator[str]:
    """The file of each process; a child may be gone by now, the first must be there."""
    for pid in pids:
        try:
            yield text(f"{proc}/{pid}/{name}")
        except OSError:
            if pid == pids[0]:
                raise
