"""Judges whether a measurement allows a conclusion about the device: valid, noisy, throttled or invalid, with the reasons."""

from collections.abc import Mapping, Sequence

import numpy as np

from edgedistill.measure.runner.record_types import Record
from edgedistill.measure.series import Series
from edgedistill.records.measurements import Validity

RANKS: tuple[Validity, ...] = ("valid", "noisy", "throttled", "invalid")
# At least 10% below the initial frequency, for at least 10% of the time: more than a governor's steps between two samples.
_SLOWER, _FOR = 0.9, 0.1
_BUSY = 0.1
# Bits 0 to 3 of get_throttled describe the present: under-voltage, frequency capped, throttled, soft temperature limit (Raspberry Pi
# documentation).
_THROTTLED_NOW = 0xF
# Android's thermal status: 0 none, 1 light, 2 moderate, 3 severe, 4 critical, 5 emergency, 6 shutdown.
_MODERATE = 2
# iOS's thermal state: 0 nominal, 1 fair, 2 serious, 3 critical. From serious on, performance is reduced (Apple, ProcessInfo.ThermalState).
_SERIOUS = 2


def judge(
    emulated: str | None, records: Sequence[Record], series: Mapping[str, Series], *, steady: bool | None = None,
    widths: tuple[float | None, float] | None = None, known: Sequence[tuple[Validity, str]] = (),
) -> tuple[Validity, list[str]]:  # fmt: skip
    """The validity and its reasons.

    emulated: why the device is not a real one, or None. widths: the half-width of the median's interval as a share of the median (None
    without an interval), and the required one. known: pairs of validity and reason that are known already.
    """
    findings = list(known)
    if emulated:
        findings.append(("invalid", emulated))
    cooldown = next((record for record in records if record["type"] == "cooldown"), None)
    if cooldown and cooldown["reached"] is False:
        waited = f"after {cooldown['waited_s']:.0f} s {cooldown['sensor']} was still at {cooldown['to_c']:.1f} °C"
        findings.append(("noisy", f"hot start: {waited}, and {cooldown['below_c']:.1f} °C is required"))
    findings += [("throttled", why) for why in throttling(series)]
    if steady is False:
        findings.append(("noisy", "not steady: the latency still drifted at the end of the warm-up"))
    if widths is not None and widths[0] is None:
        findings.append(("noisy", "too few samples for an interval of the median"))
    elif widths is not None and widths[0] is not None and widths[0] > widths[1]:
        findings.append(("noisy", f"wide: the median is known to within {100 * widths[0]:.1f}%, but {100 * widths[1]:.1f}% is required"))
    for name in ("battery.charging", "battery.usb"):
        if name in series and series[name].values.max() > 0:
            findings.append(
                ("noisy", "charging: the battery is charged, which warms the device" if "charging" in name else "powered: by USB")
            )
            break
    if "load.others" in series and (busy := float(np.median(series["load.others"].values))) > _BUSY:
        findings.append(("noisy", f"busy: other processes took {100 * busy:.0f}% of the processor"))
    worst = max((RANKS.index(kind) for kind, _ in findings), default=0)
    return RANKS[worst], [reason for _, reason in findings]


def throttling(series: Mapping[str, Series]) -> list[str]:
    """The signs of throttling in the sensors during the load; empty if there are none."""
    signs = []
    for name, sensor in series.items():
        values = sensor.values
        if name.startswith("frequency.") and len(values) >= 10:
            first = float(np.median(values[: max(2, len(values) // 10)]))
            slow = float(np.mean(values < _SLOWER * first))
            if slow > _FOR:
                below = f"below {100 * _SLOWER:.0f}% of its first {first:.0f} MHz"
                signs.append(f"throttled: {name} was {below} for {100 * slow:.0f}% of the time")
        elif name.startswith("throttled."):
            if bits := int(np.bitwise_or.reduce(values.astype(np.int64))) & _THROTTLED_NOW:
                signs.append(f"throttled: {sensor.source} says {bits:#x}")
        elif name == "thermal.status" and (status := int(values.max())) >= _MODERATE:
            signs.append(f"throttled: Android's thermal status was {status}")
        elif name == "thermal.state" and (state := int(values.max())) >= _SERIOUS:
            signs.append(f"throttled: iOS's thermal state was {'serious' if state == _SERIOUS else 'critical'}")
    return signs
