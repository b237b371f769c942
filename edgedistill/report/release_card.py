"""Draws a release card as a page: the decision, every figure with its bound and limit, and how each was measured."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from edgedistill import files
from edgedistill.gate.decide import shown as written
from edgedistill.records import Unavailable
from edgedistill.records.gate import Check, ReleaseCard, Source
from edgedistill.report.tables import Table
from edgedistill.report.templates import environment, shown
from edgedistill.report.values import Cell, megabytes, score

_FEW = 12
"""Hexadecimal digits of a hash that tell files apart for a reader; the JSON has all."""


def write_page(card: ReleaseCard, path: Path) -> Path:
    """Write the page of `card` to `path`, atomically, and return `path`."""
    files.write_text(path, render(card))
    return path


def render(card: ReleaseCard) -> str:
    """The page of a release card as one self-contained HTML document."""
    notes: list[str] = []
    return (  # type: ignore[no-any-return]
        environment()
        .get_template("release_card.html.j2")
        .render(
            name=f"Release card of {card.name}",
            card=card,
            header=_header(card),
            rules=[_rules(card, file) for file in dict.fromkeys(check.file for check in card.checks)],
            slices=[_slices(check) for check in card.checks if check.slices],
            files=_files(card),
            openings=_openings(card),
            sources=_sources(card),
            how=_how(card),
            unavailable=[check for check in card.checks if isinstance(check.value, Unavailable)],
            recipe=_yaml(card.recipe.rules),
            shown=lambda cell: shown(cell, notes),
            notes=notes,
        )
    )


def _header(card: ReleaseCard) -> list[tuple[str, str]]:
    splits = ", ".join(f"{name} {count:,}" for name, count in card.data.splits.items())
    return [
        ("Run", card.run),
        ("Created", card.created.replace("T", " ").replace("Z", " UTC")),
        ("Data", f"{card.data.source}: {splits}"),
        ("Reference", f"{card.reference.name} {card.reference.model}".strip()),
        ("Confidence", f"{card.confidence:g} of each bound, one-sided"),
        ("Licences", "; ".join(f"{name}: {value or 'not said'}" for name, value in card.licenses.items())),
    ]


def _rules(card: ReleaseCard, file: str) -> Table:
    rows = []
    for check in card.checks:
        if check.file == file:
            title = check.title + (f":\n{check.part}" if check.part else "")
            rows.append([Cell(title), *_figures(check), _outcome(check)])
    return Table(file, ("rule", "figure", "bound", "limit", "samples", "result"), rows)


def _figures(check: Check) -> list[Cell]:
    limit = Cell("–") if check.limit is None else Cell(f"{check.sense} {written(check.limit, check.unit)}", "number")
    count = Cell("–") if check.n is None else Cell(f"{check.n:,}", "number")
    if isinstance(check.value, Unavailable):
        why = check.value.unavailable
        # Neighbours with one reason are drawn as one cell.
        return [Cell(f"unavailable: {why}", "unavailable", why)] * 2 + [limit, count]
    value = Cell("yes" if check.value else "no") if check.limit is None else Cell(written(check.value, check.unit), "number")
    return [value, Cell("–") if check.bound is None else Cell(written(check.bound, check.unit), "number"), limit, count]


def _outcome(check: Check) -> Cell:
    if check.ok is None:
        return Cell("unavailable, which the rule allows")
    return Cell("✓ ok", "ok") if check.ok else Cell("✗ failed", "failed")


def _slices(check: Check) -> Table:
    rows = [
        [
            Cell(each.slice),
            Cell(f"{each.n:,}", "number"),
            Cell(written(each.value, "points"), "number"),
            Cell("–") if each.bound is None else Cell(written(each.bound, "points"), "number"),
            Cell("too few samples") if each.ok is None else Cell("✓ ok", "ok") if each.ok else Cell("✗ failed", "failed"),
        ]
        for each in check.slices or []
    ]
    return Table(f"{check.title}: {check.file}", ("slice", "samples", "drop", "bound", "result"), rows)


def _files(card: ReleaseCard) -> Table:
    rows = [
        [
            Cell(file.name, "code"),
            Cell(", ".join(file.targets)),
            Cell(megabytes(file.bytes), "number"),
            score(file.score.holdout.model_dump()),
            Cell(f"{file.executed_by} {', '.join(f'{name} {version}' for name, version in file.runtime.items())}".strip()),
            Cell(file.sha256[:_FEW], "code"),
            Cell("✓ ok", "ok") if file.ok else Cell("✗ failed", "failed"),
        ]
        for file in card.files
    ]
    reference = [Cell(card.reference.name), Cell("–"), Cell("–"), _score(card), Cell("pytorch"), Cell("–"), Cell("–")]
    headers = ("file", "targets", "size, MB", f"{card.metric.title} on the holdout", "executed by", "SHA-256", "result")
    return Table("What may ship, and what it is held to", headers, [*rows, reference])


def _score(card: ReleaseCard) -> Cell:
    scores = card.reference.score
    return score((scores if isinstance(scores, Unavailable) else scores.holdout).model_dump())


def _openings(card: ReleaseCard) -> Table:
    rows = [
        [Cell(one.time), Cell(one.run), Cell(one.who), Cell(one.recipe_sha256[:_FEW], "code"), Cell(one.rules_sha256[:_FEW], "code")]
        for one in card.holdout.entries
    ]
    return Table("Openings of this holdout", ("time", "run", "by", "recipe", "rules"), rows)


def _sources(card: ReleaseCard) -> Table:
    """The files that rules on other evidence than the run's own steps read, each once."""
    files: dict[str, tuple[Source, list[str]]] = {}
    for check in card.checks:
        if check.source is not None:
            rules = files.setdefault(check.source.path, (check.source, []))[1]
            rules.append(check.rule.removeprefix("gate."))
    rows = [
        [Cell(", ".join(dict.fromkeys(rules))), Cell(source.path, "code"), Cell(source.sha256, "code"), Cell(source.time or "–")]
        for source, rules in files.values()
    ]
    return Table("Files that rules were read from", ("rules", "file", "SHA-256", "time"), rows)


def _how(card: ReleaseCard) -> list[tuple[str, str, str]]:
    """The field of each rule, with how its figures were measured, and for which files; a way that files share stands once."""
    ways: dict[tuple[str, str], list[str]] = {}
    for check in card.checks:
        ways.setdefault((check.rule, check.how), []).append(check.file)
    return [(rule.removeprefix("gate."), how, ", ".join(names)) for (rule, how), names in ways.items()]


def _yaml(rules: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    stream = io.StringIO()
    YAML().dump({"gate": rules}, stream)
    return stream.getvalue()
