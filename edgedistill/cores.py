"""How many processor cores this process may use: what it is bound to, and the quota of its container. Free of torch."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def available() -> int:
    """Cores that this process may use at once: at least 1, and at most those that it is bound to and its quota, rounded up."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota()
    return bound if limit is None else max(1, min(bound, math.ceil(limit)))


def quota(root: Path = _CGROUPS, own: Path = _OWN) -> float | None:
    """Processor time that control groups allow, in cores; None without a limit. root: where they are mounted, v2 or v1.

    A group has the limits of those above it too.
    """
    limits: list[float] = []
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [root] if not controllers else [root / controllers, root / "cpu"]
        for mount in mounts:
            folder = mount / group.lstrip("/")
            # Inside a container the group's own path is often not there, and its limits are at the mount.
            for place in (folder, *folder.parents):
                limits += _limit(place)
                if place == mount:
                    break
    return min(limits, default=None)


def _limit(folder: Path) -> list[float]:
    """The limit of one group, in cores; nothing where it has none."""
    try:
        if (both := folder / "cpu.max").exists():
            time, period = both.read_text().split()
        else:
            time, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return [int(time) / int(period)] if time != "max" and int(time) > 0 else []
    except (OSError, ValueError, ZeroDivisionError):
        return []
