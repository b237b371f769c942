"""Counts what was compared, in a folder that a later process goes on with."""

from __future__ import annotations

import json
import threading
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from edgedistill.errors import UserError
from edgedistill.files import reading
from edgedistill.gate.shadow.people import People
from edgedistill.gate.shadow.sequential import Decision, Sequential
from edgedistill.records.base import Unavailable
from edgedistill.records.shadow import Breaks, Quantiles, Recorded, ShadowDocument

VERDICTS, PEOPLE, DOCUMENT = "verdicts.jsonl", "people.jsonl", "shadow.json"
NO_ANSWER = "no answer"
_MEASURED = ("similarity", "divergence", "teacher_ms", "student_ms")


class Tally:
    """The verdicts in a folder: `verdicts.jsonl` without texts, `people.jsonl` with those of a sample, and `shadow.json`.

    identity: what the verdicts depend on; a folder goes on with the same only. most: size of each sample for people.
    Raises UserError where the folder holds verdicts of another identity.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], test: Sequential, most: int) -> None:
        self.folder, self.test = folder, test
        self.n = self.disagreements = self.dropped = self.restarts = 0
        self.decision: Decision = "undecided"
        self.decided_at: int | None = None
        self.seen: set[str] = set()
        """Identities of the exchanges that were looked at."""
        self._why, self._not_compared = Counter[str](), Counter[str]()
        self._teacher_breaks, self._student_breaks = Counter[str](), Counter[str]()
        self._measured = {name: array("d") for name in _MEASURED}
        self._lock, self._dropping = threading.Lock(), threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        path, first = folder / VERDICTS, json.dumps({"of": identity}, sort_keys=True)
        for number, line in enumerate(_lines(path)):
            if number == 0 and json.dumps(line, sort_keys=True) != first:
                raise UserError(f"{path} has verdicts of another student, or by other rules; name another folder by --out")
            if number:
                self._count(line)
        self._file = path.open("a", encoding="utf-8")
        if not path.stat().st_size:
            self._write(first)
        self.people = People(folder / PEOPLE, most)

    def add(self, identity: str, found: Mapping[str, Any], ms: float | None) -> str | None:
        """Count what the student's process said of an exchange; returns the decision in words where it changed. ms: of the teacher."""
        row, texts = _row(found)
        line = {"id": identity, **row, "teacher_ms": ms}
        with self._lock:
            before = self.decision
            self._write(json.dumps(line))
            self._count(line)
        if texts is not None:
            self.people.add(identity, texts, agrees=row["agrees"])
        return None if self.decision == before else f"the disagreement is {self.decision} after {self.n} exchanges"

    def drop(self) -> None:
        """Count an exchange that the student was too busy for."""
        # Not the other lock, under which files are written: this must not wait.
        with self._dropping:
            self.dropped += 1

    def document(
        self, mode: Literal["replay", "proxy"], source: str, student: str, sha256: str, recorded: Recorded | None = None
    ) -> ShadowDocument:
        """What the verdicts say so far; also written as `shadow.json`."""
        with self._lock:
            n, k = self.n, self.disagreements
            document = ShadowDocument(
                created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), mode=mode, source=source, student=student, sha256=sha256,
                status="ok" if self.decision == "inside" else "check_failed", decision=self.decision, decided_at=self.decided_at,
                tolerance=self.test.tolerance, alpha=self.test.alpha, n=n, disagreements=k,
                rate=k / n if n else Unavailable(unavailable="nothing was compared"), interval=self.test.interval(n, k),
                needed=self.test.needed(n, k), why=dict(self._why), teacher_breaks=_breaks(self._teacher_breaks),
                student_breaks=_breaks(self._student_breaks), not_compared=dict(self._not_compared), dropped=self.dropped,
                restarts=self.restarts, folder=str(self.folder), people=str(self.people.path), recorded=recorded,
                **{name: _quantiles(values) for name, values in self._measured.items()},
            )  # fmt: skip
        document.write(self.folder / DOCUMENT)
        return document

    def close(self) -> None:
        """Close the file of verdicts."""
        self._file.close()

    def _write(self, line: str) -> None:
        self._file.write(f"{line}\n")
        # What was compared outlives this process.
        self._file.flush()

    def _count(self, row: Mapping[str, Any]) -> None:
        self.seen.add(row["id"])
        if "not_compared" in row:
            self._not_compared[row["not_compared"]] += 1
            return
        self.n += 1
        if row["why"] is not None:
            self.disagreements += 1
            self._why[row["why"]] += 1
        self._teacher_breaks.update(row["teacher_breaks"])
        self._student_breaks.update(row["student_breaks"])
        for name, values in self._measured.items():
            if row.get(name) is not None:
                values.append(row[name])
        now = self.test.decision(self.n, self.disagreements)
        if now not in ("undecided", self.decision):
            self.decision, self.decided_at = now, self.n


def _row(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What is kept of what the student's process said: the verdict, and what people judge; None where there is nothing to judge."""
    if "not_compared" in found:
        return {"not_compared": found["not_compared"]}, None
    if "compared" in found:
        one = found["compared"]
        row = {name: value for name, value in one.items() if name not in ("prompt", "teacher", "student")}
        if "prompt" not in one:
            return row, None
        return row, {"prompt": one["prompt"], "answers": {"teacher": one["teacher"], "student": one["student"]}, "why": one["why"]}
    row = {"agrees": False, "why": NO_ANSWER, "similarity": None, "teacher_breaks": [], "student_breaks": []}
    return {**row, "said": found["no_answer"], "student_ms": None}, None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with reading(path):
            *lines, rest = path.read_bytes().split(b"\n")
            if rest:
                # The process was killed while it wrote this line.
                with path.open("r+b") as file:
                    file.truncate(path.stat().st_size - len(rest))
            yield from map(json.loads, lines)


def _breaks(counted: Counter[str]) -> Breaks:
    return Breaks(format=counted["format"], policy=counted["policy"])


def _quantiles(values: array[float]) -> Quantiles | Unavailable:
    if not values:
        return Unavailable(unavailable="there are none")
    import numpy as np

    p05, p50, p95 = np.quantile(values, (0.05, 0.5, 0.95)).tolist()
    return Quantiles(p05=p05, p50=p50, p95=p95, n=len(values))
