"""Whether a measurement says something about the device: valid, noisy, throttled or invalid, with the reasons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgedistill.measure.series import Series

RANKS = ("valid", "noisy", "throttled", "invalid")
# A tenth less clock than at the start, for a tenth of the time: more than the steps that a governor takes between two samples.
_SLOWER, _FOR = 0.9, 0.1
_BUSY = 0.1
# Bits 0 to 3 of get_throttled are now: under-voltage, frequency capped, throttled, soft temperature limit (Raspberry Pi documentation).
_THROTTLED_NOW = 0xF
# Android's thermal status: 0 none, 1 light, 2 moderate, 3 severe, 4 critical, 5 emergency, 6 shutdown.
_MODERATE = 2


def judge(
    emulated: str | None, records: Sequence[Mapping[str, Any]], series: Mapping[str, Series], *, steady: bool | None = None,
    widths: tuple[float | None, float] | None = None, found: Sequence[tuple[str, str]] = (),
) -> tuple[str, list[str]]:  # fmt: skip
    """The validity and its reasons; `found` are pairs of both that were told before.

    emulated: why the device is none, or None. widths: half-width of the median's interval as a share of the median, None where it has none,
    and the one that was asked for.
    """
    found = list(found)
    if emulated:
        found.append(("invalid", emulated))
    cooldown = next((record for record in records if record["type"] == "cooldown"), None)
    if cooldown and cooldown["reached"] is False:
        waited = f"after {cooldown['waited_s']:.0f} s {cooldown['sensor']} was still at {cooldown['to_c']:.1f} °C"
        found.append(("noisy", f"hot start: {waited}, and {cooldown['below_c']:.1f} °C were asked for"))
    found += [("throttled", why) for why in throttling(series)]
    if steady is False:
        found.append(("noisy", "not steady: the latency still drifted when the warm-up was over"))
    if widths is not None and widths[0] is None:
        found.append(("noisy", "too few samples for an interval of the median"))
    elif widths is not None and widths[0] is not None and widths[0] > widths[1]:
        found.append(("noisy", f"wide: the median is known to {100 * widths[0]:.1f}%, and {100 * widths[1]:.1f}% were asked for"))
    for name in ("battery.charging", "battery.usb"):
        if name in series and series[name].values.max() > 0:
            found.append(("noisy", "charging: the battery is charged, which warms the device" if "charging" in name else "powered: by USB"))
            break
    if "load.others" in series and (busy := float(np.median(series["load.others"].values))) > _BUSY:
        found.append(("noisy", f"busy: other processes took {100 * busy:.0f}% of the processor"))
    worst = max((RANKS.index(kind) for kind, _ in found), default=0)
    return RANKS[worst], [reason for _, reason in found]


def throttling(series: Mapping[str, Series]) -> list[str]:
    """What the sensors say of throttling while the load ran; nothing where they are silent."""
    found = []
    for name, one in series.items():
        values = one.values
        if name.startswith("frequency.") and len(values) >= 10:
            first = float(np.median(values[: max(2, len(values) // 10)]))
            slow = float(np.mean(values < _SLOWER * first))
            if slow > _FOR:
                below = f"below {100 * _SLOWER:.0f}% of its first {first:.0f} MHz"
                found.append(f"throttled: {name} was {below} for {100 * slow:.0f}% of the time")
        elif name.startswith("throttled."):
            if bits := int(np.bitwise_or.reduce(values.astype(np.int64))) & _THROTTLED_NOW:
                found.append(f"throttled: {one.source} says {bits:#x}")
        elif name == "thermal.status" and (status := int(values.max())) >= _MODERATE:
            found.append(f"throttled: Android's thermal status was {status}")
    return found
