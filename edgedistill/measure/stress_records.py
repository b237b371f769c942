"""Reads the records of a stress test: the inferences of each instance and its memory over time."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edgedistill.measure.runner.record_types import InstanceBatch, Record


@dataclass(frozen=True)
class Instance:
    """One instance. All times are in seconds since the load began.

    begin_s, duration_s [n]: its inferences. late_s [n]: how late each began; empty without a rate. batch_begin_s, batch_end_s, rss_bytes
    [m]: its batches, and the resident memory after each (NaN if unknown). checked, changed: outputs compared, and those that differed.
    """

    index: int
    begin_s: np.ndarray
    duration_s: np.ndarray
    late_s: np.ndarray
    batch_begin_s: np.ndarray
    batch_end_s: np.ndarray
    rss_bytes: np.ndarray
    checked: int
    changed: int


@dataclass(frozen=True)
class Loaded:
    """A whole load: its start `t0_s` on the device's monotonic clock, its requested and actual duration, and its instances."""

    t0_s: float
    asked_s: float
    ran_s: float
    mode: str
    instances: tuple[Instance, ...]

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """End and duration in seconds of every inference, ascending by end."""
        ends = np.concatenate([instance.begin_s + instance.duration_s for instance in self.instances])
        durations = np.concatenate([instance.duration_s for instance in self.instances])
        order = np.argsort(ends, kind="stable")
        return ends[order], durations[order]


def loaded(records: Iterable[Record]) -> Loaded | None:
    """The load in the records of a stress job, or None if none began."""
    batches: dict[int, list[InstanceBatch]] = {}
    start = end_ns = None
    for record in records:
        if record["type"] == "stress_start":
            start = record
        elif record["type"] == "instance":
            batches.setdefault(record["index"], []).append(record)
        elif record["type"] == "stress_end":
            end_ns = record["t_ns"]
    if start is None or not batches:
        return None
    t0 = start["t0_ns"]
    instances = tuple(_instance(index, group, t0) for index, group in sorted(batches.items()))
    last = max(float(instance.batch_end_s[-1]) for instance in instances)
    asked = float(start["seconds"])
    ran = last if end_ns is None else min((end_ns - t0) / 1e9, max(asked, last))
    return Loaded(t0 / 1e9, asked, ran, start["mode"], instances)


def _instance(index: int, batches: list[InstanceBatch], t0: int) -> Instance:
    begins, durations, lates, ends = [], [], [], []
    for batch in batches:
        took = np.array(batch["durations_ns"], dtype=np.int64)
        waited = np.array(batch["waited_ns"], dtype=np.int64) if batch["waited_ns"] is not None else np.zeros(len(took), np.int64)
        begin = batch["t0_ns"] - t0 + np.cumsum(took) - took + np.cumsum(waited)
        begins.append(begin)
        durations.append(took)
        ends.append(begin[-1] + took[-1])
        if batch["late_ns"] is not None:
            lates.append(np.array(batch["late_ns"], dtype=np.int64))
    rss = [batch["rss_bytes"] for batch in batches]
    return Instance(
        index,
        np.concatenate(begins) / 1e9,
        np.concatenate(durations) / 1e9,
        np.concatenate(lates) / 1e9 if lates else np.empty(0),
        np.array([begin[0] for begin in begins]) / 1e9,
        np.array(ends) / 1e9,
        np.array([np.nan if value is None else value for value in rss], dtype=np.float64),
        sum(batch["checked"] for batch in batches),
        sum(batch["changed"] for batch in batches),
    )
