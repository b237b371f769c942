"""Temperatures of the kernel's thermal zones."""

from collections.abc import Iterator
from pathlib import Path

from edgedistill.measure.runner.sensors.base import Missing, Reader, Scope, Source, by_number, number, numbered, offer, text


def find(scope: Scope) -> Iterator[Source | Missing]:
    """temperature.<type> in °C for each zone of /sys/class/thermal; zones of the same type get their number."""
    zones = by_number(scope.root / "sys/class/thermal", "thermal_zone")
    if not zones:
        yield Missing("temperature", "°C", "/sys/class/thermal has no thermal zone that this user may see")
        return
    names = numbered((_type(zone), zone.name.removeprefix("thermal_zone")) for zone in zones)
    readers = {f"temperature.{name}": _reader(zone) for name, zone in zip(names, zones, strict=True)}
    yield from offer(readers, dict.fromkeys(readers, "°C"), "temp of /sys/class/thermal/thermal_zone*, named by type")


def celsius(raw: float) -> float:
    """A zone's reading in °C. The kernel's unit is m°C, but some drivers of vendors use °C, so |raw| < 200 counts as °C.

    Raises ValueError for readings that mean no sensor: 0, -40 °C and below, and temperatures that no chip survives.
    """
    value = raw if abs(raw) < 200 else raw / 1000
    if raw == 0 or not -40 < value <= 200:
        raise ValueError(f"it reads {raw:g}, which means no sensor")
    return value


def _type(zone: Path) -> str:
    try:
        return text(zone / "type")
    except OSError:
        return zone.name


def _reader(zone: Path) -> Reader:
    return lambda: celsius(number(zone / "temp"))
