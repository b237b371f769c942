"""Temperatures, voltages, currents, power and energy of hwmon chips. Units: kernel, Documentation/hwmon/sysfs-interface.rst."""

from collections.abc import Iterator
from pathlib import Path

from edgedistill.measure.runner.sensors.base import Missing, Reader, Scope, Source, by_number, number, numbered, offer, text

# Attributes by kind: the first word of our name, our unit, and what the kernel's unit is divided by.
_KINDS = {
    "temp": ("temperature", "°C", 1000),
    "in": ("voltage", "mV", 1),
    "curr": ("current", "mA", 1),
    "power": ("power", "W", 1_000_000),
    "energy": ("energy", "µJ", 1),
}
# These drivers show thermal zones and batteries once more.
_SEEN_ELSEWHERE = {"thermal", "power_supply"}


def find(scope: Scope) -> Iterator[Source | Missing]:
    """temperature, voltage, current, power and energy.<chip>[.<label>] of the chips in /sys/class/hwmon, by their `name`.

    throttled.<chip> is the under-voltage alarm of a Raspberry Pi (chip rpi_volt): 1 is bit 0 of what its firmware tells.
    """
    chips = [chip for chip in by_number(scope.root / "sys/class/hwmon", "hwmon") if _subsystem(chip) not in _SEEN_ELSEWHERE]
    names = numbered((_name(chip), chip.name.removeprefix("hwmon")) for chip in chips)
    for chip, name in zip(chips, names, strict=True):
        yield from offer(*_channels(chip, name), f"/sys/class/hwmon/{chip.name} ({name})")


def _channels(chip: Path, name: str) -> tuple[dict[str, Reader], dict[str, str]]:
    readers: dict[str, Reader] = {}
    units: dict[str, str] = {}
    for kind, (word, unit, divisor) in _KINDS.items():
        files = _inputs(chip, kind)
        labels = numbered((_label(chip, index), index) for index in files)
        for (index, file), label in zip(files.items(), labels, strict=True):
            channel = f"{word}.{name}" if len(files) == 1 and label == index else f"{word}.{name}.{label}"
            readers[channel] = _reader(file, divisor)
            units[channel] = unit
    alarm = chip / "in0_lcrit_alarm"
    if name.startswith("rpi_volt") and alarm.exists():
        readers[f"throttled.{name}"], units[f"throttled.{name}"] = lambda: number(alarm), "bits"
    return readers, units


def _reader(file: Path, divisor: int) -> Reader:
    return lambda: number(file) / divisor


def _inputs(chip: Path, kind: str) -> dict[str, Path]:
    """The file of each channel by its name, as in1; some chips tell their power as an average only."""
    files: dict[str, Path] = {}
    for ending in ("_input", "_average"):
        for path in sorted(chip.glob(f"{kind}*{ending}")):
            index = path.name.removesuffix(ending)
            if index[len(kind) :].isdigit():
                files.setdefault(index, path)
    return dict(sorted(files.items(), key=lambda item: int(item[0][len(kind) :])))


def _label(chip: Path, index: str) -> str:
    try:
        return text(chip / f"{index}_label")
    except OSError:
        return index


def _name(chip: Path) -> str:
    try:
        return text(chip / "name")
    except OSError:
        return chip.name


def _subsystem(chip: Path) -> str:
    return (chip / "device" / "subsystem").resolve().name
