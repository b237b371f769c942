"""What the report shows of the time and the memory that tokens take: by file, by position, and by the length of the context."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgedistill.files import read_arrays
from edgedistill.tasks.causal_lm import trial
from edgedistill.tasks.causal_lm.facts import LanguageFacts
from edgedistill.tasks.data import DataFacts
from edgedistill.tasks.sections import Block, Cell, Chart, Section, Table, Trial

Points = tuple[tuple[float, float], ...]
"""Positions of tokens, and the median milliseconds of those around them."""
_BINS = 12
_LEAST = 64
"""The shortest context that a cache is reckoned for."""
_FIT = 3
"""Points from which a line is fitted."""


def costs(facts: DataFacts, tried: Mapping[str, Trial]) -> Section | None:
    """What the tokens of each file take; None where no file was timed. tried: the answers of rungs and files by their names."""
    assert isinstance(facts, LanguageFacts)
    timed = {name: each for name, each in tried.items() if "latency" in each.figures}
    if not timed:
        return None
    sizes = {name: size for name, each in timed.items() if isinstance(size := each.figures.get("state_mb"), float)}
    rows, series = [], {}
    for name, each in timed.items():
        told: Any = each.figures["latency"]
        kept = _digits(1e3 * sizes[name] / facts.length) if name in sizes else None
        rates = (_rate(told["prefill_per_s"]), _rate(told["decode_per_s"]))
        rows.append((name, _pair(told["first_ms"]), _pair(told["each_ms"]), *rates, kept))
        series[name] = _by_position(read_arrays(each.folder / trial.ANSWERS))
    columns = (
        "file", "first token, ms (p50, p95)", "each further one, ms (p50, p95)", "prompt, tokens/s", "answer, tokens/s",
        "cache, KB a position",
    )  # fmt: skip
    text = (
        "The answers above, one at a time, on this machine; the first token includes the whole prompt. A file takes one text in a call, so "
        "that there are no batches to choose from."
    )
    chart = Chart("position of the token", "ms", series, "Median time of a token by its position.")
    blocks: tuple[Block, ...] = (Table(columns, tuple(rows)), *_cache(sizes, facts.length), *_growth(series), chart)
    return Section("What a token costs", text, blocks)


def _cache(sizes: Mapping[str, float], length: int) -> tuple[Table, ...]:
    """The megabytes that the cache would have for contexts up to `length`. sizes: those of each file, for `length` positions."""
    if not sizes:
        return ()
    shorter = [_LEAST << doubled for doubled in range(length.bit_length()) if _LEAST << doubled < length]
    rows = tuple((f"{count:,}", *(_digits(size * count / length) for size in sizes.values())) for count in (*shorter, length))
    caption = (
        "The cache in MB, by the length of the context: keys and values of every position of every layer, in float32. These files have "
        f"room for {length:,} positions, used or not; files of a recipe with a smaller data.length have less."
    )
    return (Table(("positions", *sizes), rows, caption),)


def _growth(series: Mapping[str, Points]) -> tuple[Table, ...]:
    """Where the time of a token goes, as far as its growth with the position tells it: lines through the medians of each file.

    The slope is the median of those between all pairs of points, with its 95% interval (Theil 1950, Sen 1968, JASA 63).
    """
    from scipy.stats import theilslopes

    rows: list[tuple[Cell, ...]] = []
    for name, points in series.items():
        if len(points) < _FIT:
            continue
        places, times = np.array(points).T
        slope, start, low, high = theilslopes(times, places)
        last = slope * places[-1]
        share = f"{last / (start + last):.0%} of {start + last:.3g} ms at {places[-1]:.0f}" if low > 0 else "no growth seen"
        rows.append((name, f"{start:.3g}", f"{1e3 * slope:.2g} [{1e3 * low:.2g}, {1e3 * high:.2g}]", share))
    if not rows:
        return ()
    caption = (
        "Where the time goes: a line through the medians of the chart. In brackets the 95% interval of its slope. What grows with "
        "the position is attention over the cache; the rest are weights, the head, and what a call costs. A runtime that reads the whole "
        "cache in each call has its attention in the rest."
    )
    columns = ("file", "at position 0, ms", "growth in 1,000 positions, ms", "share that has grown at the last position")
    return (Table(columns, tuple(rows), caption),)


def _pair(found: Mapping[str, float] | None) -> Cell:
    return None if found is None else f"{found['p50']:.2f}, {found['p95']:.2f}"


def _rate(value: float | None) -> Cell:
    return None if value is None else f"{value:,.0f}"


def _digits(value: float) -> str:
    return f"{value:.3g}"


def _by_position(arrays: Mapping[str, np.ndarray]) -> Points:
    """Medians of the milliseconds of tokens, in at most twelve parts of the positions."""
    places, times = arrays["places"], 1e3 * arrays["each_s"]
    if not len(places):
        return ()
    edges = np.unique(np.linspace(places.min(), places.max() + 1, _BINS + 1).round().astype(int))
    points = []
    for low, high in itertools.pairwise(edges):
        inside = (places >= low) & (places < high)
        if inside.any():
            points.append((float((low + high - 1) / 2), float(np.median(times[inside]))))
    return tuple(points)
