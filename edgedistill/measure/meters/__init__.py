"""Power meters on the host, as plug-ins of the entry point group `edgedistill.meters`: a name, and a function that returns a `Meter`.

The function takes one string, the text after the name: for `command:./read_meter.sh` it is `./read_meter.sh`.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from edgedistill.errors import UserError
from edgedistill.measure.clock import Alignment
from edgedistill.measure.meters.base import Meter, Samples
from edgedistill.measure.series import Series

GROUP = "edgedistill.meters"
_OWN = {
    "command": "edgedistill.measure.meters.command:CommandMeter",
    "monsoon": "edgedistill.measure.meters.monsoon:MonsoonMeter",
}


def registered() -> dict[str, Callable[[], Callable[[str], Meter]]]:
    """A loader for each meter, by its name. Raises UserError if two packages register the same name."""
    entries = [EntryPoint(name, target, GROUP) for name, target in _OWN.items()]
    by_name: dict[str, EntryPoint] = {}
    for entry in [*entries, *entry_points(group=GROUP)]:
        other = by_name.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise UserError(f"two meters are named {entry.name!r}: {_owner(other)} and {_owner(entry)}. Uninstall one of the packages")
    return {name: entry.load for name, entry in by_name.items()}


def open_meter(spec: str) -> Meter:
    """The meter that `spec` names: NAME, or NAME:ARGUMENT. Raises UserError for an unknown name."""
    name, _, argument = spec.partition(":")
    known = registered()
    if name not in known:
        raise UserError(f"meter {name!r} is unknown; known are {', '.join(sorted(known))}")
    return known[name]()(argument)


def power_series(name: str, samples: Samples, alignment: Alignment) -> Series:
    """The samples as the series power.meter.<name> in W, on the device's clock."""
    source = f"{samples.source}, on the device's clock within {alignment.error_s * 1000:.0f} ms"
    return Series(f"power.meter.{name}", "W", source, alignment.to_device(samples.host_s), samples.watts)


def _owner(entry: EntryPoint) -> str:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "edgedistill"
    return f"{entry.value} of {package}"
