"""Limits of a target that only a device can tell, and what a measurement says of them."""

from typing import Any

import pytest

from edgedistill.recipe.targets import list_targets, load_target
from edgedistill.records import Unavailable
from edgedistill.records.measurements import Measurement

# Where a measurement has the figure, in the unit of the name.
FIGURES = {
    "p50_ms": ("latency_ms", "p50"),
    "p95_ms": ("latency_ms", "p95"),
    "p99_ms": ("latency_ms", "p99"),
    "load_ms": ("load_ms", "cold"),
    "peak_rss_mb": ("peak_rss_mb",),
    "mj_per_inference": ("energy", "mj_per_inference"),
}


def budgets(bundle: str, target: str | None, given: list[str]) -> dict[str, float]:
    """The limits of `target`, a name or path, or else of the target that `bundle` names, and those `given` as NAME=LIMIT, which go before.

    A bundle of a target that is not the package's has no limits of its own. Raises RecipeError for a target, pytest.UsageError for a budget
    that there is none of.
    """
    chosen = target or (bundle if bundle in list_targets() else None)
    limits = load_target(chosen).device_budgets.model_dump(exclude_none=True) if chosen else {}
    found: dict[str, float] = dict(limits)
    for one in given:
        name, _, limit = one.partition("=")
        try:
            found[name] = float(limit)
        except ValueError:
            raise pytest.UsageError(f"--budget {one}: found no number after the =, expected NAME=LIMIT") from None
        if name not in FIGURES:
            raise pytest.UsageError(f"--budget {one}: found {name!r}, expected one of {', '.join(FIGURES)}")
    return found


def figure(measurement: Measurement, name: str) -> float | str:
    """The figure that a budget limits, or why the measurement has none."""
    value: Any = measurement
    for field in FIGURES[name]:
        if not isinstance(value, Unavailable):
            value = getattr(value, field)
    return value.unavailable if isinstance(value, Unavailable) else float(value)
