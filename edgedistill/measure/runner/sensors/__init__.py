"""Sensors of a device. Each is optional: a value has a unit and a source, a missing one has a reason. Standard library only."""

from collections.abc import Callable, Iterable
from pathlib import Path

from edgedistill.measure.runner.job_types import SensorOptions
from edgedistill.measure.runner.sensors import (
    battery,
    cpu_load,
    frequency,
    hwmon,
    ina,
    memory,
    rapl,
    raspberry_pi,
    thermal_service,
    thermal_zones,
)
from edgedistill.measure.runner.sensors.base import Missing, Scope, Source, Tool, run_tool

_FINDERS: tuple[Callable[[Scope], Iterable[Source | Missing]], ...] = (
    memory.find,
    cpu_load.find,
    frequency.find,
    thermal_zones.find,
    thermal_service.find,
    battery.find,
    raspberry_pi.find,
    hwmon.find,
    ina.find,
    rapl.find,
)


def discover(
    pid: int, root: Path = Path("/"), tool: Tool = run_tool, options: SensorOptions | None = None
) -> tuple[list[Source], list[Missing]]:
    """The sensors that can be read now, and those that cannot, with reasons.

    pid: the measured process. root: where /proc, /sys and /dev are. tool: runs a command and returns its output, or raises OSError.
    """
    scope = Scope(pid, root, tool, options or SensorOptions())
    entries = [entry for find in _FINDERS for entry in find(scope)]
    return [entry for entry in entries if isinstance(entry, Source)], [entry for entry in entries if isinstance(entry, Missing)]
