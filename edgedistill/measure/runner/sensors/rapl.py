"""Energy counters of x86 processors, from the kernel's powercap class (Documentation/power/powercap/powercap.rst)."""

from collections.abc import Iterator
from pathlib import Path

from edgedistill.measure.runner.sensors.base import Missing, Reader, Scope, Source, number, numbered, offer, text


def find(scope: Scope) -> Iterator[Source | Missing]:
    """energy.rapl.<zone> in µJ since the first reading, corrected for wrap-around. Since 2020 only root may read it (CVE-2020-8694)."""
    zones = sorted(path for path in (scope.root / "sys/class/powercap").glob("intel-rapl:*") if (path / "energy_uj").exists())
    if not zones:
        yield Missing("energy.rapl", "µJ", "/sys/class/powercap has no intel-rapl zone")
        return
    names = numbered((_name(zone), zone.name.removeprefix("intel-rapl:")) for zone in zones)
    readers = {f"energy.rapl.{name}": counter(zone) for name, zone in zip(names, zones, strict=True)}
    yield from offer(readers, dict.fromkeys(readers, "µJ"), "energy_uj of /sys/class/powercap/intel-rapl:*")


def counter(zone: Path) -> Reader:
    """A reader of the energy since its first call, in µJ; between two calls the counter may wrap around once."""
    state: dict[str, float] = {}

    def read() -> float:
        now = number(zone / "energy_uj")
        step = now - state.get("last", now)
        if step < 0:
            step += number(zone / "max_energy_range_uj")
        state["last"], state["sum"] = now, state.get("sum", 0.0) + step
        return state["sum"]

    return read


def _name(zone: Path) -> str:
    """package-0, core, dram: the names repeat in each package, so a part has the package's name in front."""
    try:
        name = text(zone / "name")
        if zone.name.count(":") == 2:
            return f"{text(zone.parent / zone.name.rpartition(':')[0] / 'name')}.{name}"
    except OSError:
        return zone.name
    return name
