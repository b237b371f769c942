"""Chooses the cores of a measurement, and finds the big and little cores of this processor."""

import os
from pathlib import Path

from edgedistill.measure.runner.job_types import Cores
from edgedistill.measure.runner.record_types import Cluster, Placement

_CPU = "sys/devices/system/cpu"


def clusters(root: Path = Path("/")) -> list[Cluster]:
    """Groups of equal cores, the slowest first.

    Cores are equal if their cpu_capacity and cpuinfo_max_freq are (the kernel's Documentation/ABI/testing/sysfs-devices-system-cpu).
    """
    groups: dict[tuple[float, float], list[int]] = {}
    for folder in sorted(root.glob(f"{_CPU}/cpu[0-9]*"), key=lambda path: int(path.name[3:])):
        top = _number(folder / "cpufreq" / "cpuinfo_max_freq") or 0.0
        groups.setdefault((_number(folder / "cpu_capacity") or 0.0, top), []).append(int(folder.name[3:]))
    return [{"cores": cores, "max_mhz": top / 1000 if top else None} for (_, top), cores in sorted(groups.items())]


def chosen(choice: str | list[int], root: Path = Path("/")) -> list[int]:
    """The cores that `choice` names: "big", "little" or indices. Raises ValueError if the processor has no such cores."""
    if not isinstance(choice, str):
        return choice
    groups = clusters(root)
    if len(groups) < 2:
        raise ValueError(
            f"{choice} cores were asked for, and all cores of this processor are alike; leave the option out, or name cores by number"
        )
    return list(groups[-1 if choice == "big" else 0]["cores"])


def place(choice: Cores, root: Path = Path("/")) -> Placement:
    """Bind this process and its children to the cores `choice`, and return where they run.

    Raises ValueError if that fails.
    """
    if choice is not None:
        cores = chosen(choice, root)
        try:
            os.sched_setaffinity(0, cores)
        except (OSError, AttributeError) as error:
            raise ValueError(f"this process can't be bound to the cores {cores}: {error}") from error
    bound = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {"asked": choice, "cores": bound, "clusters": clusters(root)}


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None
