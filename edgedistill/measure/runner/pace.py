"""The schedule of a load: continuous, at a rate, or in bursts."""

from collections.abc import Callable
from typing import Any

Pace = Callable[[int, int], int]
"""(inferences done, ns since the start) -> ns since the start at which the next one is due."""


def pace(settings: dict[str, Any]) -> Pace:
    """The pace of `settings`: "mode" continuous, rate (with "rate_hz") or bursts (with "burst_s" and "pause_s").

    The schedules of rate and bursts are fixed at the start (an open loop): a slow inference delays the next ones but does not cancel any.
    A closed loop would hide delays (Schroeder, Wierman and Harchol-Balter, Open Versus Closed: A Cautionary Tale, NSDI 2006).
    """
    mode = settings["mode"]
    if mode == "continuous":
        return lambda done, elapsed: elapsed
    if mode == "rate":
        rate_hz = _positive(settings, "rate_hz")
        return lambda done, elapsed: round(done / rate_hz * 1e9)
    if mode == "bursts":
        busy, cycle = round(_positive(settings, "burst_s") * 1e9), round((settings["burst_s"] + _positive(settings, "pause_s")) * 1e9)
        return lambda done, elapsed: elapsed if elapsed % cycle < busy else (elapsed // cycle + 1) * cycle
    raise ValueError(f"stress: mode is {mode!r}, expected continuous, rate or bursts")


def _positive(settings: dict[str, Any], name: str) -> float:
    value = settings.get(name)
    if not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"stress: {name} is {value!r}, but mode {settings['mode']} needs a number above 0")
    return value
