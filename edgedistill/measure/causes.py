"""Finds the sensors that changed together with a drop in speed."""

from collections.abc import Mapping

import numpy as np

from edgedistill.measure.series import Series
from edgedistill.records.stress import Cause

_AFTER_S = 15.0
_MIN_FALL = 0.05
_MIN_LOAD = 0.1
# Bits 0 to 3 of a Raspberry Pi's get_throttled describe the present; bits 16 to 19 describe the time since its start.
_BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


def causes(series: Mapping[str, Series], onset_s: float, initial_s: tuple[float, float]) -> list[Cause]:
    """What changed between the initial part of a run and the 15 s after `onset_s`.

    All times are seconds on the clock of the series. The list is empty if no sensor explains the drop.
    """
    changes = []
    if fall := _frequency(series, onset_s, initial_s):
        changes.append(fall)
    for name, sensor in series.items():
        before, after = _within(sensor, *initial_s), _within(sensor, onset_s, onset_s + _AFTER_S)
        if len(before) == 0 or len(after) == 0:
            continue
        if name == "load.others" and np.median(after) > np.median(before) + _MIN_LOAD:
            changes.append(
                _changed(f"other processes took {100 * np.median(after):.0f}% of the processor", name, *map(np.median, (before, after)))
            )
        if name == "thermal.status" and after.max() > before.max():
            changes.append(_changed(f"thermal status {after.max():.0f}", name, before.max(), after.max()))
        if name.startswith("throttled."):
            new = np.bitwise_or.reduce(after.astype(np.int64)) & ~np.bitwise_or.reduce(before.astype(np.int64))
            for bit, meaning in _BITS.items():
                if new >> bit & 1:
                    changes.append(_changed(meaning, name, 0, 1))
    return changes


def judged(series: Mapping[str, Series]) -> bool:
    """Whether any sensor could have explained a drop."""
    return any(name.startswith(("frequency.", "throttled.")) or name in ("thermal.status", "load.others") for name in series)


def _frequency(series: Mapping[str, Series], onset_s: float, initial_s: tuple[float, float]) -> Cause | None:
    """The fall in frequency if all of the fastest cores became slower; the others may idle."""
    medians = {}
    for name, sensor in series.items():
        before, after = _within(sensor, *initial_s), _within(sensor, onset_s, onset_s + _AFTER_S)
        if name.startswith("frequency.") and len(before) and len(after):
            medians[name] = float(np.median(before)), float(np.median(after))
    if not medians:
        return None
    was = max(before for before, _ in medians.values())
    now, name = max((after, name) for name, (before, after) in medians.items() if before > (1 - _MIN_FALL) * was)
    return _changed(f"frequency fell from {was:.0f} to {now:.0f} MHz", name, was, now) if now <= (1 - _MIN_FALL) * was else None


def _changed(cause: str, sensor: str, before: float, after: float) -> Cause:
    return Cause(cause=cause, sensor=sensor, before=float(before), after=float(after))


def _within(sensor: Series, low: float, high: float) -> np.ndarray:
    return sensor.values[(sensor.t_s >= low) & (sensor.t_s <= high)]
