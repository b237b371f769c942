"""What the report shows of language models alone: whole answers, how far files are from the student, and what a token costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgedistill.files import read_arrays
from edgedistill.tasks.causal_lm import trial
from edgedistill.tasks.causal_lm.answered import mcnemar
from edgedistill.tasks.causal_lm.costs import costs
from edgedistill.tasks.causal_lm.fidelity import Fidelity, fidelity
from edgedistill.tasks.sections import Cell, Results, Section, Table, Trial
from edgedistill.tasks.text.task import personal

_COLUMNS = {
    "exact": "as in the data",
    "valid": "fit the schema",
    "tool": "right tool",
    "arguments": "right tool and arguments",
    "policy": "within the policy",
    "ended": "ended",
}
_ENOUGH = 5000
"""Tokens from which a fidelity is more than a smoke test."""


def sections(results: Results) -> list[Section]:
    """The sections that there are results for."""
    tried = _tried(results)
    made = [*personal(results.facts), _written(results), _answers(results, tried), _fidelity(results), costs(results.facts, tried)]
    return [section for section in made if section is not None]


def _written(results: Results) -> Section | None:
    """What the teacher wrote for the student to learn."""
    if (found := results.answers) is None:
        return None
    asked = found["recorded"] + found["answered"]
    text = (
        f"{asked:,} answers to {found['prompts']:,} prompts, of which {found['kept']:,} are kept; {found['recorded']:,} were there from "
        f"earlier runs. This run paid {found['prompt_tokens']:,} tokens of prompts and {found['completion_tokens']:,} of answers, "
        f"{found['partial']:,} answers of which were cut off and asked again. provenance.jsonl says where each kept one comes from."
    )
    if replaced := found.get("replaced"):
        kinds = ", ".join(f"{count:,} of kind {kind}" for kind, count in replaced.items())
        text += f" Personal data in answers of this run were replaced by pseudonyms: {kinds}."
    if found["unanswered"]:
        text += f" {found['unanswered']:,} answers could not be got; the next run asks for them again."
    dropped = tuple((check, count) for check, count in found["dropped"].items())
    blocks = (Table(("check", "dropped"), dropped, "Answers that a check of teacher.answers.checks dropped"),) if dropped else ()
    return Section("Answers of the teacher", text, blocks)


def _tried(results: Results) -> dict[str, Trial]:
    return {name: tried for name, tried in results.trials.items() if "exact" in tried.figures}


def _answers(results: Results, tried: Mapping[str, Trial]) -> Section | None:
    """How many whole answers are right, of rungs and files."""
    if not tried:
        return None
    names = [name for name in _COLUMNS if any(name in each.figures for each in tried.values())]
    exact = {name: read_arrays(each.folder / trial.VERDICTS)["exact"].tolist() for name, each in tried.items()}
    first: Any = next(iter(tried.values())).figures
    scores, rouges = list(first["scores"]), list(first.get("rouge", ()))
    rows = tuple((name, *_figures(each.figures, names, scores, rouges), _changed(exact, name)) for name, each in tried.items())
    count = max(len(values) for values in exact.values())
    text = (
        f"{count} prompts of val, answered by greedy decoding; in brackets 95% intervals. The last column is McNemar's exact test of a "
        "file against the student: a small p says that answers were lost or won by more than chance."
    )
    failed = [
        f"{name}: {why}" for name, each in results.trials.items() if (why := each.figures.get("error") or each.figures.get("unavailable"))
    ]
    titles = {name: _COLUMNS[name] for name in names if name != "ended"} | {name: f"good {name}" for name in scores}
    columns = ("answers", *(_COLUMNS[name] for name in names), *(f"good {name}" for name in scores), *rouges, "against the student")
    blocks = (Table(columns, rows), *_of_sets(tried, titles))
    return Section("Whole answers", " ".join([text, *(f"Not tried is {line}." for line in failed)]), blocks)


def _of_sets(tried: Mapping[str, Trial], titles: Mapping[str, str]) -> tuple[Table, ...]:
    """The same for each set of the data; no table where the data have one."""
    found: dict[str, Any] = {name: each.figures.get("sets") or {} for name, each in tried.items()}
    rows = [(name, of, *(_share(said.get(what)) for what in titles)) for name, sets in found.items() for of, said in sets.items()]
    return (Table(("answers", "set", *titles.values()), tuple(rows), "Whole answers of each set of the data"),) if rows else ()


def _figures(found: Any, names: Iterable[str], scores: Iterable[str], rouges: Iterable[str]) -> tuple[Cell, ...]:
    """The cells of one row: shares of answers, of those that each scorer finds good, and ROUGE."""
    shares = [*(found.get(name) for name in names), *(found["scores"][name] for name in scores)]
    return (*map(_share, shares), *(f"{found['rouge'][name]:.3f}" for name in rouges))


def _share(found: Any) -> Cell:
    if not isinstance(found, Mapping):
        return None
    low, high = found["interval"]
    return f"{found['right'] / found['n']:.1%} [{low:.1%}, {high:.1%}]"


def _changed(exact: Mapping[str, list[bool]], name: str) -> Cell:
    if name in ("teacher", "control", "student") or "student" not in exact:
        return None
    before, after = exact["student"], exact[name]
    lost = sum(a and not b for a, b in zip(before, after, strict=True))
    won = sum(b and not a for a, b in zip(before, after, strict=True))
    return f"lost {lost}, won {won}, p = {mcnemar(before, after):.2g}"


def _fidelity(results: Results) -> Section | None:
    """How far the next-token probabilities of each file are from the student's, given the answers of the data."""
    expected, targets = results.outputs("student"), results.targets
    if expected is None or not targets:
        return None
    found: dict[str, Fidelity] = {}
    for name in results.artifacts:
        if (outputs := results.outputs(name)) is not None:
            found[name] = fidelity(outputs["logits"], expected["logits"], targets["logits"])
    if not found:
        return None
    rows = tuple(
        (
            name,
            f"{each.divergence:.2e} [{each.divergence_low:.2e}, {each.divergence_high:.2e}]",
            f"{each.agreement:.2%} [{each.agreement_low:.2%}, {each.agreement_high:.2%}]",
        )
        for name, each in found.items()
    )
    tokens = next(iter(found.values())).tokens
    few = "" if tokens >= _ENOUGH else f" These are fewer than {_ENOUGH:,}: raise data.split.val before you trust them."
    said = f"{tokens:,} tokens of answers, each after the answer of the data so far. In brackets 95% intervals by bootstrap over the rows."
    text = said + few
    columns = ("file", "KL(student || file), nats a token", "same likeliest token")
    return Section("Fidelity of the files", text, (Table(columns, rows),))
