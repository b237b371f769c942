"""Clock frequency of each core, from cpufreq."""

from collections.abc import Iterator
from pathlib import Path

from edgedistill.measure.runner.sensors.base import Missing, Reader, Scope, Source, by_number, number, offer


def find(scope: Scope) -> Iterator[Source | Missing]:
    """frequency.cpu<N> in MHz; a sweep leaves out cores that are off."""
    cores = by_number(scope.root / "sys/devices/system/cpu", "cpu")
    readers = {f"frequency.{core.name}": _reader(core / "cpufreq/scaling_cur_freq") for core in cores if (core / "cpufreq").is_dir()}
    if not readers:
        yield Missing("frequency", "MHz", "/sys/devices/system/cpu/cpu*/cpufreq is not there: this kernel does not report frequencies")
        return
    yield from offer(readers, dict.fromkeys(readers, "MHz"), "scaling_cur_freq of /sys/devices/system/cpu/cpu*/cpufreq")


def _reader(path: Path) -> Reader:
    return lambda: number(path) / 1000
