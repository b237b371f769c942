"""What holds while a task runs: sensors are read, the device is cool, cores and governor are chosen, and all is put back."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgedistill.measure.runner.placement import place
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.settings import governor, governors
from edgedistill.measure.runner.watch import watching

Latest = Callable[[], Mapping[str, float]]

_LOOK_S = 0.2
_FIRST_VALUES_S = 15.0
_TOOL_S = 10.0
# Skin and battery are what the hand and the vendor's limits feel; a processor under no load may well be at 50 °C.
_COOL_C = {"skin": 35.0, "battery": 35.0, "": 55.0}
_KINDS = ("skin", "cpu", "soc", "package", "tctl", "x86_pkg", "")


@contextmanager
def conditions(wanted: Mapping[str, Any] | None, folder: Path, recorder: Recorder) -> Iterator[Latest]:
    """Make the conditions `wanted` (the job's, see docs/measuring.md) hold while the block runs; gives the latest values of the sensors.

    folder: the job's own, for a script that undoes changes. Without conditions nothing is read and nothing changed.
    """
    if wanted is None:
        yield dict
        return
    with ExitStack() as stack:
        # The sampling process comes first: it shall not be bound to the cores that are measured.
        latest: Latest = dict
        if wanted["sensors_interval_s"] is not None:
            latest = stack.enter_context(watching(recorder, wanted["sensors_interval_s"], wanted.get("sensors")))
        stack.enter_context(governor(wanted["governor"], folder, recorder))
        recorder.write("preflight", placement=place(wanted["affinity"]), governors=governors(), **android_state())
        if wanted["cooldown"] is not None:
            _phase("cooldown", recorder)
            cool_down(wanted["cooldown"], latest, recorder)
        if wanted.get("idle_s"):
            _phase("idle", recorder)
            time.sleep(wanted["idle_s"])
        _phase("work", recorder)
        try:
            yield latest
        finally:
            _phase("end", recorder)


def _phase(name: str, recorder: Recorder) -> None:
    recorder.write("phase", name=name, t_ns=time.monotonic_ns())


def cool_down(wanted: Mapping[str, Any], latest: Latest, recorder: Recorder) -> None:
    """Wait until the device is below `below_c` (by default what its kind of sensor allows), at most `timeout_s`; writes `cooldown`."""
    started = time.monotonic()
    while (found := hottest(latest())) is None:
        if time.monotonic() - started > _FIRST_VALUES_S:
            recorder.write("cooldown", sensor=None, reached=None, waited_s=0.0, reason="no sensor gives a temperature")
            return
        time.sleep(_LOOK_S)
    sensor, first = found
    limit = wanted["below_c"] if wanted["below_c"] is not None else _usual_limit(sensor)
    value, started = first, time.monotonic()
    while value > limit and time.monotonic() - started < wanted["timeout_s"]:
        time.sleep(_LOOK_S)
        value = latest().get(sensor, value)
    waited = time.monotonic() - started if first > limit else 0.0
    recorder.write("cooldown", sensor=sensor, from_c=first, to_c=value, below_c=limit, waited_s=waited, reached=value <= limit)


def hottest(values: Mapping[str, float]) -> tuple[str, float] | None:
    """The sensor that speaks for the device, and its °C: the skin's, else the processor's hottest, any other, the battery's."""
    zones = {name: value for name, value in values.items() if name.startswith("temperature.")}
    for kind in _KINDS:
        if fitting := {name: value for name, value in zones.items() if kind in name.lower()}:
            return max(fitting.items(), key=lambda item: item[1])
    return ("battery.temperature", values["battery.temperature"]) if "battery.temperature" in values else None


def _usual_limit(sensor: str) -> float:
    return next(limit for kind, limit in _COOL_C.items() if kind in sensor.lower())


def android_state() -> dict[str, Any]:
    """Whether the screen is on and what Doze does, as Android tells; null elsewhere and where it does not."""
    return {"screen": _told("power", "mWakefulness="), "doze": _told("deviceidle", "mState=")}


def _told(service: str, word: str) -> str | None:
    """The value after `word` in what `dumpsys` says of a service."""
    if shutil.which("dumpsys") is None:
        return None
    try:
        text = subprocess.run(["dumpsys", service], capture_output=True, check=False, timeout=_TOOL_S).stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line.split(word, 1)[1].split()[0] for line in text.splitlines() if line.strip().startswith(word)), None)
