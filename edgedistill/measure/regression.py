"""Decides whether a measurement is slower than a baseline of another session."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import Literal

from edgedistill.errors import UserError
from edgedistill.measure.runner.ratio import student_t
from edgedistill.records import Latency, Unavailable
from edgedistill.records.measurements import Intervals, Measurement, Ratio, Regression, Spread

TOLERANCE = 0.03
"""Typical relative change of a device's median from one session to the next without any change of the model."""
MIN_SESSIONS = 4
_CONFIDENCE = 0.95
_SAME: dict[str, Callable[[Measurement], object]] = {
    "device": lambda measurement: measurement.device.model,
    "format": lambda measurement: measurement.artifact.format,
    "precision": lambda measurement: measurement.artifact.precision,
    "adapter": lambda measurement: measurement.adapter,
    "build": lambda measurement: measurement.build,
    "threads": lambda measurement: measurement.threads,
    "preset": lambda measurement: measurement.protocol.preset,
}
"""What two measurements must have in common."""


def regression(baseline: Sequence[Measurement], new: Measurement, tolerance: float = TOLERANCE) -> Regression:
    """Compare the measurement `new` with one or several sessions of a baseline.

    The verdict is regression or improvement only if the whole interval of the ratio is beyond `tolerance`, else no regression. With at
    least 4 sessions the interval is a 95% prediction interval for a new session of the same model, from the spread of the sessions. With
    fewer it covers only the uncertainty within the sessions; the tolerance then stands for the spread between them. Raises UserError if
    device, format, precision, adapter, build, threads or preset differ, or if a measurement has no median.
    """
    for session in baseline:
        _check_same(session, new)
    logs = [math.log(_p50(session)) for session in baseline]
    ratio = math.log(_p50(new)) - fmean(logs)
    between_sessions: float | Unavailable
    if len(baseline) >= MIN_SESSIONS:
        # Student's prediction interval for one more session (Hahn and Meeker, Statistical Intervals, 1991).
        reach = student_t((1 + _CONFIDENCE) / 2, len(logs) - 1) * stdev(logs) * math.sqrt(1 + 1 / len(logs))
        between_sessions = stdev(logs)
        # A new session that is noisier than the others is less certain than their spread suggests.
        below = above = max(reach, _reach(new, 0), _reach(new, 1))
    else:
        why = f"it takes {MIN_SESSIONS} sessions of the baseline, found {len(baseline)}"
        between_sessions = Unavailable(unavailable=why)
        # The interval of a ratio from the intervals of both medians (Zou and Donner, Statistics in Medicine 27, 2008).
        below = math.hypot(_reach(new, 0), max(_reach(session, 1) for session in baseline))
        above = math.hypot(_reach(new, 1), max(_reach(session, 0) for session in baseline))
    low, high = math.exp(ratio - below), math.exp(ratio + above)
    verdict = _verdict(low, high, tolerance)
    times = f"{math.exp(ratio):.3f} times the baseline's median [{low:.3f}, {high:.3f}]"
    return Regression(
        ratio=Ratio(value=math.exp(ratio), interval=(low, high), confidence=_CONFIDENCE),
        verdict=verdict,
        text=f"{verdict}: {times}, {tolerance:.1%} tolerated",
        tolerance=tolerance,
        sessions=len(baseline),
        spread=Spread(between_sessions=between_sessions),
        warnings=[*(f"the baseline is {w}" for s in baseline if (w := _invalid(s))), *([f"it is {w}"] if (w := _invalid(new)) else [])],
    )


def _verdict(low: float, high: float, tolerance: float) -> Literal["regression", "improvement", "no regression"]:
    if low > 1 + tolerance:
        return "regression"
    return "improvement" if high < 1 / (1 + tolerance) else "no regression"


def _check_same(baseline: Measurement, new: Measurement) -> None:
    differences = [
        f"{name} is {_text(of(new))} and the baseline's {_text(of(baseline))}" for name, of in _SAME.items() if of(new) != of(baseline)
    ]
    if differences:
        raise UserError(
            f"the measurement can't be compared with this baseline: {'; '.join(differences)}. "
            "Measure both in the same way, or choose another baseline"
        )


def _text(value: object) -> object:
    return "unknown" if isinstance(value, Unavailable) else value


def _p50(measurement: Measurement) -> float:
    latency = measurement.latency_ms
    p50 = latency.p50 if isinstance(latency, Latency) else latency
    if isinstance(p50, Unavailable):
        name = f"{measurement.artifact.name} of {measurement.created}"
        raise UserError(f"{name} has no median to compare: {p50.unavailable}")
    return p50


def _reach(measurement: Measurement, end: int) -> float:
    """Distance of the median from the lower (end 0) or upper (1) bound of its interval, as a logarithm; 0 if that is unavailable."""
    intervals = measurement.intervals_ms
    if not isinstance(intervals, Intervals) or isinstance(intervals.p50, Unavailable):
        return 0.0
    return abs(math.log(intervals.p50[end] / _p50(measurement)))


def _invalid(measurement: Measurement) -> str | None:
    if measurement.validity == "valid":
        return None
    return f"{measurement.validity} ({'; '.join(measurement.reasons) or 'no reason is given'})"
