"""Reads a line of a file of traces: what a device tells of an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from edgedistill.errors import UserError

_EXAMPLE = '{"confidence": 0.98, "decision": "cat", "features": {"tokens": 12}}'


class Trace(NamedTuple):
    """An answer of a device: how sure it is, what it decides, and what is known of its request."""

    confidence: float
    decision: str | None
    features: Mapping[str, float | str]


def read_trace(line: str, names: list[str], where: str) -> Trace:
    """The trace in `line`; the number of a decision becomes one of `names`. Raises UserError that names the place `where`."""
    try:
        value = json.loads(line)
        confidence, decision, features = value["confidence"], value.get("decision"), value.get("features") or {}
        pairs = dict(features.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{where}: found {line[:60]!r}, expected an object such as {_EXAMPLE}") from error
    if not _number(confidence) or not 0 <= confidence <= 1:
        raise UserError(f"{where}: found the confidence {confidence!r}, expected a number from 0 to 1")
    if wrong := [name for name, one in pairs.items() if not isinstance(one, str) and not _number(one)]:
        raise UserError(f"{where}: found the feature {wrong[0]} as {str(pairs[wrong[0]])[:40]!r}, expected a finite number or a text")
    return Trace(float(confidence), _named(decision, names, where), pairs)


def _named(decision: Any, names: list[str], where: str) -> str | None:
    if decision is None or not names:
        return None if decision is None else str(decision)
    if isinstance(decision, int) and not isinstance(decision, bool) and 0 <= decision < len(names):
        return names[decision]
    if decision not in names:
        raise UserError(f"{where}: found the decision {decision!r}, expected one of {', '.join(names[:10])} or its number")
    return str(decision)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
