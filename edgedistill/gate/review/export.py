"""Writes what reviewers said, with the answers and their authors, for other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import UserError
from edgedistill.files import replacing
from edgedistill.gate.review.rubric import AUTHORS, RUBRICS, Criterion

if TYPE_CHECKING:
    from edgedistill.gate.review.store import Store

SUFFIXES = (".csv", ".jsonl")
_BEFORE = ("reviewer", "sample", "prompt", "reference", "candidate", "reference_answer", "candidate_answer")
_BEHIND = ("candidate_was", "seconds", "note", "created")
"""Columns before and behind those of the questions."""


def export(store: Store, path: Path) -> None:
    """Write a row for each judgement: a table for .csv, an object a line for .jsonl. Raises UserError for another suffix."""
    check(path)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(store))
            return
        table = csv.writer(file)
        table.writerow([*_BEFORE, *(column for each in RUBRICS[store.about.rubric] for column in _columns(each)), *_BEHIND])
        table.writerows([_cell(value) for value in row.values()] for row in _rows(store))


def check(path: Path) -> None:
    """Raise UserError unless `export` can write such a file."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"--export: found {path.name}, expected a name that ends in {' or '.join(SUFFIXES)}")


def _rows(store: Store) -> Iterator[dict[str, Any]]:
    pairs, about = store.pairs(), store.about
    for each in store.judgements():
        pair = pairs[each.pair]
        before = (each.reviewer, pair.sample, pair.prompt, about.reference, about.candidate, pair.reference, pair.candidate)
        behind = ("a" if each.candidate_first else "b", each.seconds, each.note, each.created)
        yield {
            **dict(zip(_BEFORE, before, strict=True)),
            **{column: value for one in RUBRICS[about.rubric] for column, value in _said(one, each.choices[one.name]).items()},
            **dict(zip(_BEHIND, behind, strict=True)),
        }


def _columns(criterion: Criterion) -> list[str]:
    """Of a criterion: one, or one for each answer of an absolute one."""
    return [f"{criterion.name}_{who}" for who in AUTHORS] if criterion.absolute else [criterion.name]


def _said(criterion: Criterion, choice: str) -> dict[str, str]:
    values = ["yes" if choice in (who, "both") else "no" for who in AUTHORS] if criterion.absolute else [choice]
    return dict(zip(_columns(criterion), values, strict=True))


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would compute, as a model may write one, is marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
