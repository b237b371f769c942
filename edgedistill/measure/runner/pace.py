"""The schedule of a load: continuous, at a rate, or in bursts."""

from collections.abc import Callable

Pace = Callable[[int, int], int]
"""(inferences done, ns since the start) -> ns since the start at which the next one is due."""


def pace(mode: str, rate_hz: float | None = None, burst_s: float | None = None, pause_s: float | None = None) -> Pace:
    """The pace of a load: continuous, rate (at `rate_hz`) or bursts (of `burst_s`, with `pause_s` between them).

    The schedules of rate and bursts are fixed at the start (an open loop): a slow inference delays the next ones but does not cancel any.
    A closed loop would hide delays (Schroeder, Wierman and Harchol-Balter, Open Versus Closed: A Cautionary Tale, NSDI 2006).
    """
    if mode == "continuous":
        return lambda count, elapsed: elapsed
    if mode == "rate":
        hertz = _positive(mode, "rate_hz", rate_hz)
        return lambda count, elapsed: round(count / hertz * 1e9)
    if mode == "bursts":
        burst, pause = _positive(mode, "burst_s", burst_s), _positive(mode, "pause_s", pause_s)
        busy, cycle = round(burst * 1e9), round((burst + pause) * 1e9)
        return lambda count, elapsed: elapsed if elapsed % cycle < busy else (elapsed // cycle + 1) * cycle
    raise ValueError(f"stress: mode is {mode!r}, expected continuous, rate or bursts")


def _positive(mode: str, name: str, value: float | None) -> float:
    if value is None or not value > 0:
        raise ValueError(f"stress: {name} is {value!r}, but mode {mode} needs a number above 0")
    return value
