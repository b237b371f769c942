"""Decides whether a measurement is slower than a baseline of another session."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from edgedistill.errors import UserError
from edgedistill.measure.runner.ratio import student_t
from edgedistill.measure.statistics import unavailable

Document = dict[str, Any]

TOLERANCE = 0.03
"""Typical relative change of a device's median from one session to the next without any change of the model."""
MIN_SESSIONS = 4
_CONFIDENCE = 0.95
_SAME = {
    "device": ("device", "model"),
    "format": ("artifact", "format"),
    "precision": ("artifact", "precision"),
    "adapter": ("adapter",),
    "build": ("build",),
    "threads": ("threads",),
    "preset": ("protocol", "preset"),
}


def regression(baseline: Document | Sequence[Document], new: Document, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """Compare the measurement `new` with a baseline, or with several sessions of one.

    Returns `ratio` {value, interval}, the new median divided by the baseline's; `verdict`, which is regression or improvement only if the
    whole interval is beyond `tolerance`, else no regression; `text`, `tolerance`, `sessions`, `spread` (what the interval covers), and
    `warnings` about measurements that are not valid. With at least 4 sessions the interval is a 95% prediction interval for a new session
    of the same model, from the spread of the sessions. With fewer it covers only the uncertainty within the sessions; the tolerance then
    stands for the spread between them. Raises UserError if device, format, precision, adapter, build, threads or preset differ, or if a
    measurement has no median.
    """
    sessions = [baseline] if isinstance(baseline, dict) else list(baseline)
    for session in sessions:
        _check_same(session, new)
    logs = [math.log(_p50(session)) for session in sessions]
    ratio = math.log(_p50(new)) - fmean(logs)
    if len(sessions) >= MIN_SESSIONS:
        # Student's prediction interval for one more session (Hahn and Meeker, Statistical Intervals, 1991).
        reach = student_t((1 + _CONFIDENCE) / 2, len(logs) - 1) * stdev(logs) * math.sqrt(1 + 1 / len(logs))
        spread: Any = {"between_sessions": stdev(logs)}
        # A new session that is noisier than the others is less certain than their spread suggests.
        below = above = max(reach, _reach(new, 0), _reach(new, 1))
    else:
        spread = {"between_sessions": unavailable(f"it takes {MIN_SESSIONS} sessions of the baseline, found {len(sessions)}")}
        # The interval of a ratio from the intervals of both medians (Zou and Donner, Statistics in Medicine 27, 2008).
        below = math.hypot(_reach(new, 0), max(_reach(session, 1) for session in sessions))
        above = math.hypot(_reach(new, 1), max(_reach(session, 0) for session in sessions))
    interval = [math.exp(ratio - below), math.exp(ratio + above)]
    verdict = _verdict(interval, tolerance)
    ends = f"[{interval[0]:.3f}, {interval[1]:.3f}]"
    return {
        "ratio": {"value": math.exp(ratio), "interval": interval, "confidence": _CONFIDENCE},
        "verdict": verdict,
        "text": f"{verdict}: {math.exp(ratio):.3f} times the baseline's median {ends}, {tolerance:.1%} tolerated",
        "tolerance": tolerance,
        "sessions": len(sessions),
        "spread": spread,
        "warnings": [*(f"the baseline is {w}" for s in sessions if (w := _invalid(s))), *([f"it is {w}"] if (w := _invalid(new)) else [])],
    }


def _verdict(interval: Sequence[float], tolerance: float) -> str:
    low, high = interval
    if low > 1 + tolerance:
        return "regression"
    return "improvement" if high < 1 / (1 + tolerance) else "no regression"


def _check_same(baseline: Document, new: Document) -> None:
    differences = [
        f"{name} is {_at(new, path)} and the baseline's {_at(baseline, path)}"
        for name, path in _SAME.items()
        if _at(new, path) != _at(baseline, path)
    ]
    if differences:
        raise UserError(
            f"the measurement can't be compared with this baseline: {'; '.join(differences)}. "
            "Measure both in the same way, or choose another baseline"
        )


def _at(document: Document, path: Sequence[str]) -> Any:
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _p50(document: Document) -> float:
    value = document["latency_ms"].get("p50")
    if not isinstance(value, int | float):
        why = document["latency_ms"].get("unavailable", "no reason is given")
        raise UserError(f"{_at(document, ('artifact', 'name'))} of {document.get('created')} has no median to compare: {why}")
    return float(value)


def _reach(document: Document, end: int) -> float:
    """Distance of the median from the lower (end 0) or upper (1) bound of its interval, as a logarithm; 0 if that is unavailable."""
    bounds = document["intervals_ms"].get("p50")
    return abs(math.log(bounds[end] / _p50(document))) if isinstance(bounds, list) else 0.0


def _invalid(document: Document) -> str | None:
    validity = document.get("validity")
    return None if validity == "valid" else f"{validity} ({'; '.join(document.get('reasons', [])) or 'no reason is given'})"
