"""The unit of a battery's current, which drivers do not agree on."""

import numpy as np

# A phone that computes draws more than 20 mA, and no phone's or board's battery gives 10 A.
_MIN_MA, _MAX_MA = 20.0, 10_000.0
# The counter may lag, and the current fluctuates; the two units are a thousand apart.
_AGREES = 3.0
_MIN_STEPS = 3


def battery_current(t_s: np.ndarray, raw: np.ndarray, charge_t_s: np.ndarray, charge_uah: np.ndarray) -> tuple[float, str] | str:
    """What to multiply `raw` by for mA, and how that was decided; or why it cannot be told.

    t_s, raw: float64 [N], current as the driver gives it, positive while the battery is discharged. charge_t_s, charge_uah: float64 [M],
    the charge counter, empty where there is none. The kernel's unit is µA, but many drivers give mA. The size tells, unless it contradicts
    the charge counter: mean current times time must be the charge that went.
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
    """Mean current in mA by the counter, with begin and end of that span; None if it did not make at least 3 steps meanwhile."""
    inside = (charge_t_s >= t_s[0]) & (charge_t_s <= t_s[-1])
    times, charges = charge_t_s[inside], charge_uah[inside]
    steps = np.flatnonzero(np.diff(charges))
    if len(steps) < _MIN_STEPS:
        return None
    first, last = steps[0] + 1, steps[-1] + 1
    seconds, used = times[last] - times[first], charges[first] - charges[last]
    return (float(used / seconds * 3.6), float(times[first]), float(times[last])) if used else None
