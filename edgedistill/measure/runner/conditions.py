"""Establishes the conditions of a task (sensors, cool-down, cores, governor) and undoes them afterwards."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edgedistill.measure.runner import bounded
from edgedistill.measure.runner.job_types import ConditionSettings, CooldownSettings
from edgedistill.measure.runner.placement import place
from edgedistill.measure.runner.record_types import AndroidState
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.settings import governor, governors
from edgedistill.measure.runner.watch import watching

Latest = Callable[[], Mapping[str, float]]

_LOOK_S = 0.2
_FIRST_VALUES_S = 15.0
_TOOL_S = 10.0
# The vendor's limits apply to skin and battery. An idle processor may be at 50 °C.
_COOL_C = {"skin": 35.0, "battery": 35.0, "": 55.0}
_KINDS = ("skin", "cpu", "soc", "package", "tctl", "x86_pkg", "")


@contextmanager
def conditions(settings: ConditionSettings | None, folder: Path, recorder: Recorder) -> Iterator[Latest]:
    """Establish the job's conditions `settings` (see docs/measuring.md) for the block, which gets the latest values of the sensors.

    folder: the job's own folder, for a script that undoes changes. With None nothing is read and nothing is changed.
    """
    if settings is None:
        yield dict
        return
    with ExitStack() as stack:
        # Start the sampling process first, so that it is not bound to the measured cores.
        latest: Latest = dict
        if settings["sensors_interval_s"] is not None:
            latest = stack.enter_context(watching(recorder, settings["sensors_interval_s"], settings["sensors"]))
        stack.enter_context(governor(settings["governor"], folder, recorder))
        recorder.write("preflight", placement=place(settings["affinity"]), governors=governors(), **android_state())
        if settings["cooldown"] is not None:
            _phase("cooldown", recorder)
            cool_down(settings["cooldown"], latest, recorder)
        if settings["idle_s"]:
            _phase("idle", recorder)
            time.sleep(settings["idle_s"])
        _phase("work", recorder)
        try:
            yield latest
        finally:
            _phase("end", recorder)


def _phase(name: str, recorder: Recorder) -> None:
    recorder.write("phase", name=name, t_ns=time.monotonic_ns())


def cool_down(settings: CooldownSettings, latest: Latest, recorder: Recorder) -> None:
    """Wait until the device is below `below_c` (default: by kind of sensor), at most `timeout_s`, and write `cooldown`."""
    started = time.monotonic()
    while (reading := hottest(latest())) is None:
        if time.monotonic() - started > _FIRST_VALUES_S:
            recorder.write("cooldown", sensor=None, reached=None, waited_s=0.0, reason="no sensor gives a temperature")
            return
        time.sleep(_LOOK_S)
    sensor, first = reading
    limit = settings["below_c"] if settings["below_c"] is not None else _usual_limit(sensor)
    value, started = first, time.monotonic()
    while value > limit and time.monotonic() - started < settings["timeout_s"]:
        time.sleep(_LOOK_S)
        value = latest().get(sensor, value)
    waited = time.monotonic() - started if first > limit else 0.0
    recorder.write("cooldown", sensor=sensor, from_c=first, to_c=value, below_c=limit, waited_s=waited, reached=value <= limit)


def hottest(values: Mapping[str, float]) -> tuple[str, float] | None:
    """The sensor that represents the device, and its °C: the skin, else the hottest of the processor, any other, or the battery."""
    zones = {name: value for name, value in values.items() if name.startswith("temperature.")}
    for kind in _KINDS:
        if fitting := {name: value for name, value in zones.items() if kind in name.lower()}:
            return max(fitting.items(), key=lambda item: item[1])
    return ("battery.temperature", values["battery.temperature"]) if "battery.temperature" in values else None


def _usual_limit(sensor: str) -> float:
    return next(limit for kind, limit in _COOL_C.items() if kind in sensor.lower())


def android_state() -> AndroidState:
    """The state of the screen and of Doze, from Android."""
    return {"screen": _dumped("power", "mWakefulness="), "doze": _dumped("deviceidle", "mState=")}


def _dumped(service: str, word: str) -> str | None:
    """The value after `word` in the `dumpsys` output of a service."""
    if shutil.which("dumpsys") is None:
        return None
    try:
        text = bounded.run(["dumpsys", service], timeout_s=_TOOL_S).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return next((line.split(word, 1)[1].split()[0] for line in text.splitlines() if line.strip().startswith(word)), None)
