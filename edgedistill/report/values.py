"""Read and format the values of a summary, where each number may be `{"value": null, "unavailable": why}`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Every interval of a summary is at this level; the statistics that make them are in measure/statistics.py and verify.
LEVEL = "95% interval"
_NOT_RECORDED = "not recorded in the summary"
_MINUS = "−"


@dataclass(frozen=True)
class Cell:
    """One table cell. `full` is a reason in its whole length; `span` is the number of columns it covers."""

    text: str
    kind: Literal["text", "code", "number", "unavailable", "ok", "failed"] = "text"
    full: str = ""
    span: int = 1


def get(document: Any, *path: str) -> Any:
    """Follow `path` through nested mappings; a missing step gives an unavailable value, and an unavailable one stays itself."""
    value = document
    for key in path:
        if not isinstance(value, Mapping):
            return {"value": None, "unavailable": _NOT_RECORDED}
        if key not in value and ("unavailable" in value or "reason" in value):
            return {"value": None, "unavailable": reason(value)}
        value = value.get(key)
    return value


def number(value: Any) -> float | None:
    """The finite number in `value` (bare, or under "value"), or None."""
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def reason(value: Any) -> str:
    """Why `value` has no number, in words."""
    if isinstance(value, Mapping):
        # A comparison that could not be created says so under "reason".
        if text := value.get("unavailable") or value.get("reason"):
            return str(text)
        value = value.get("value")
    if isinstance(value, float) and not math.isfinite(value):
        return "the summary holds a value that is not finite"
    return _NOT_RECORDED


def unavailable(value: Any) -> Cell:
    """The cell for a value that has no number."""
    why = reason(value)
    return Cell(f"unavailable: {why}", "unavailable", why)


def show(value: Any, form: Callable[[float], str]) -> Cell:
    """A number cell written by `form`, or the reason why there is none."""
    figure = number(value)
    return unavailable(value) if figure is None else Cell(form(figure), "number")


def words(value: Any) -> Cell:
    """A text cell; None and unavailable values give their reason."""
    if value is None or isinstance(value, Mapping):
        return unavailable(value)
    return Cell(str(value))


def percent(fraction: float) -> str:
    """A fraction as a percentage with two decimals."""
    return f"{100 * fraction:.2f}%".replace("-", _MINUS)


def points(fraction: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return "0.00" if round(100 * fraction, 2) == 0 else f"{100 * fraction:+.2f}".replace("-", _MINUS)


def lost(drop: float) -> str:
    """A loss of score that is already in percentage points; a gain is negative."""
    return points(drop / 100).removeprefix("+")


def figures(value: float) -> str:
    """Three significant figures; plain digits where they are readable."""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}".replace("-", _MINUS)
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace("-", _MINUS)


def integer(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}".replace("-", _MINUS)


def megabytes(size: float) -> str:
    """Bytes as MB (10^6 bytes)."""
    return figures(size / 1e6)


def seconds(duration: float) -> str:
    """A duration in seconds, or in minutes and seconds."""
    return f"{duration:.1f} s" if duration < 100 else f"{int(duration // 60)} min {int(duration % 60)} s"


def interval(bounds: Any, form: Callable[[float], str]) -> str:
    """`[low, high]` written by `form`, or nothing where an end is missing."""
    ends = limits(bounds)
    return f"[{form(ends[0])}, {form(ends[1])}]" if ends else ""


def limits(bounds: Any) -> tuple[float, float] | None:
    """Both ends of an interval as finite numbers, or None."""
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) != 2:
        return None
    low, high = number(bounds[0]), number(bounds[1])
    return None if low is None or high is None else (low, high)


def score(value: Any) -> Cell:
    """A score with its counts, and on a second line its interval: `98.06% (353 of 360)`, `[96.10%, 99.10%]`."""
    figure = number(value)
    if figure is None:
        return unavailable(value)
    correct, n = number(value.get("correct")), number(value.get("n"))
    counts = f" ({integer(correct)} of {integer(n)})" if correct is not None and n is not None else ""
    return Cell(f"{percent(figure)}{counts}\n{interval(value.get('interval'), percent)}".rstrip(), "number")


def executed_by(value: Any) -> str:
    """What ran a rung or artifact, as a word, with the reason where nothing could."""
    return str(value) if isinstance(value, str) else f"unavailable: {reason(value)}"


def verdict(ok: Any, why: Any = None) -> Cell:
    """ok, failed, or not judged with the reason found in `why`."""
    if isinstance(ok, bool):
        return Cell("✓ ok", "ok") if ok else Cell("✗ failed", "failed")
    return unavailable(ok if isinstance(ok, Mapping) else why)


def finite(value: Any) -> Any:
    """`value` with every number that is not finite written as a string, so that no NaN is shown as if it were data."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return "not finite" if isinstance(value, float) and not math.isfinite(value) else value
