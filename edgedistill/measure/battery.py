"""Decides the unit of a battery's current, on which drivers disagree."""

import numpy as np

# A phone under load draws more than 20 mA, and no battery of a phone or board delivers 10 A.
_MIN_MA, _MAX_MA = 20.0, 10_000.0
# A loose bound is enough: the counter may lag and the current fluctuates, but the two units differ by a factor of 1000.
_AGREES = 3.0
_MIN_STEPS = 3


def battery_current(t_s: np.ndarray, raw: np.ndarray, charge_t_s: np.ndarray, charge_uah: np.ndarray) -> tuple[float, str] | str:
    """The factor that converts `raw` to mA and how it was decided, or the reason why the unit is unknown.

    t_s, raw: float64 [N], the current as the driver reports it, positive while the battery discharges. charge_t_s, charge_uah: float64
    [M], the charge counter, empty without one. The kernel's unit is µA, but many drivers report mA. The magnitude decides, unless the
    charge counter contradicts it: mean current times time must equal the charge that was used.
    """
    peak = float(np.abs(raw).max())
    guess = 1e-3 if peak >= _MAX_MA else 1.0
    size = f"unit {'µA' if guess == 1e-3 else 'mA'} by its size, up to {peak:g}"
    measured = _mean_by_counter(t_s, charge_t_s, charge_uah)
    if measured is not None:
        inside = (t_s >= measured[1]) & (t_s <= measured[2])
        mean = float(raw[inside].mean()) if inside.any() else float(raw.mean())
        for factor, unit in ((1e-3, "µA"), (1.0, "mA")):
            if mean and 1 / _AGREES <= mean * factor / measured[0] <= _AGREES:
                return factor, f"unit {unit} by the charge counter"
        return f"unit unknown: it reads {mean:g} on average, while the charge counter went by {measured[0]:.4g} mA"
    if guess == 1.0 and peak < _MIN_MA:
        return f"unit unknown: it reads up to {peak:g}, and no charge counter moved enough to compare it with"
    return guess, size


def _mean_by_counter(t_s: np.ndarray, charge_t_s: np.ndarray, charge_uah: np.ndarray) -> tuple[float, float, float] | None:
    """Mean current in mA by the counter, with begin and end of that span; None if the counter made fewer than 3 steps."""
    inside = (charge_t_s >= t_s[0]) & (charge_t_s <= t_s[-1])
    times, charges = charge_t_s[inside], charge_uah[inside]
    steps = np.flatnonzero(np.diff(charges))
    if len(steps) < _MIN_STEPS:
        return None
    first, last = steps[0] + 1, steps[-1] + 1
    seconds, used = times[last] - times[first], charges[first] - charges[last]
    return (float(used / seconds * 3.6), float(times[first]), float(times[last])) if used else None
