"""Limits of a target that only a device can tell, and what a measurement says of them."""

from collections.abc import Mapping
from typing import Any

import pytest

from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.targets import load_target

# Where a document of a measurement has the figure, in the unit of the name.
FIGURES = {
    "p50_ms": ("latency_ms", "p50"),
    "p95_ms": ("latency_ms", "p95"),
    "p99_ms": ("latency_ms", "p99"),
    "load_ms": ("load_ms", "cold"),
    "peak_rss_mb": ("peak_rss_mb",),
    "mj_per_inference": ("energy", "mj_per_inference"),
}


def budgets(target: str, given: list[str]) -> dict[str, float]:
    """The limits of a target, by its name or path, and those `given` as NAME=LIMIT, which go before. A target of nobody's has none.

    Raises pytest.UsageError for a budget that is none.
    """
    found: dict[str, float] = {}
    try:
        limits = load_target(target).budgets.model_dump(exclude_none=True)
        found = {name: limit for name, limit in limits.items() if name in FIGURES}
    except RecipeError as error:
        if target not in str(error):
            raise
    for one in given:
        name, _, limit = one.partition("=")
        try:
            found[name] = float(limit)
        except ValueError:
            raise pytest.UsageError(f"--budget {one}: found no number after the =, expected NAME=LIMIT") from None
        if name not in FIGURES:
            raise pytest.UsageError(f"--budget {one}: found {name!r}, expected one of {', '.join(FIGURES)}")
    return found


def figure(document: Mapping[str, Any], name: str) -> float | str:
    """The figure that a budget limits, or why the measurement has none."""
    value: Any = document
    for key in FIGURES[name]:
        if isinstance(value, Mapping) and "unavailable" in value:
            break
        value = value[key]
    return str(value["unavailable"]) if isinstance(value, Mapping) else float(value)
