"""Rules of the gate on what other commands left: the baseline of the teacher, the shadow phase, and reviews by people."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_gate import INT8, PHONE, checks, copied, decided, evidence, saved

from edgedistill import tasks
from edgedistill.files import read_json, sha256_file
from edgedistill.gate import by_people
from edgedistill.gate.bounds import drop, upper_bound
from edgedistill.gate.evidence import Evidence
from edgedistill.gate.review.store import Judgement, Store
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import load_recipe
from edgedistill.records import Unavailable
from edgedistill.records.baseline import BASELINE_FILE, Baseline, baseline_hash
from edgedistill.records.shadow import ShadowDocument
from edgedistill.report.release_card import render
from edgedistill.run import Step
from edgedistill.runs import open_run
from edgedistill.steps.review import review
from edgedistill.tasks.data import chosen

NONE = Unavailable(unavailable="not needed here")
JUDGED = 40
"""Samples that the made baseline asked for."""


@pytest.fixture
def run(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run in the current folder."""
    monkeypatch.chdir(tmp_path)
    return copied(tiny, tmp_path)


def measured(run: Path, rows: list[int], kept: dict[str, list[bool]], p95: float = 10.0, **changes: Any) -> Path:
    """The run with a baseline of its teacher, as `edgedistill baseline-teacher` leaves it."""
    effective, summary = read_json(run / "recipe.json")["effective"], read_json(run / "summary.json")
    load = {"callers": 1, "requests": 64, "errors": 0, "seconds": 1.0, "answers_per_s": 64.0}
    load["latency_ms"] = {"p50": 1.0, "p95": p95, "p99": 20.0, "n": 64}
    teacher = {
        "name": "t", "model": "m", "where": "a.host", "settings": {}, "score": NONE, "further": {}, "answers": {}, "format_errors": NONE,
        "load": [load], "cost": NONE, "verdicts": {"rows": rows, "kept": kept},
    }  # fmt: skip
    made = Baseline.model_validate(
        {
            "name": "tiny", "run": "runs/tiny", "created": "2026-11-25T15:00:00Z", "task": "t", "metric": summary["metric"],
            "recipe_sha256": baseline_hash(effective), "data_sha256": summary["data"]["sha256"], "samples": len(rows), "environment": {},
            "teachers": [teacher], **changes,
        }
    )  # fmt: skip
    with open_run(run) as opened:
        opened.step(Step("baseline", None, outputs=(BASELINE_FILE,)), lambda _: made.write(opened.path(BASELINE_FILE)), again=True)
    return run


def reason(check: Any) -> str:
    assert isinstance(check.value, Unavailable)
    assert check.ok is False
    return check.value.unavailable


def test_answers_are_held_to_the_baseline_on_the_samples_of_both(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = evidence(run).scorer.data
    ours = np.arange(60) % 10 > 0
    monkeypatch.setattr(type(tasks.task("image-classification")), "tried", lambda self, recipe: 60)
    monkeypatch.setattr(Evidence, "kept", lambda self, name, what, split, where=None: {"val": ours, "holdout": ~ours}[split])
    rows = chosen(data, "val", 60)
    # Some that the file was tried on, in another order, and one that it was not.
    theirs = rows[:JUDGED][::-1].tolist()
    other = next(int(row) for row in data.indices["val"] if row not in rows)
    # As the file does, sample by sample, so that pairs in another order would have a higher bound.
    measured(run, [*theirs, other], {"exact": [*ours[:JUDGED][::-1].tolist(), False]})
    rules = {"answers": [{"of": "exact", "max_drop": 0.3}, {"of": "valid", "max_drop": 0.3}]}
    card = decided(run, files="first", baseline=rules, trials=[{"of": "exact", "min": 0.5}])
    (check,), (missing,) = (checks(card, f"baseline.answers.{number}").values() for number in range(2))
    value, bound = drop(ours[:JUDGED], ours[:JUDGED], 0.95)
    assert next(iter(checks(card, "trials.0").values())).value == (~ours).mean()
    assert (check.value, check.bound, check.n, check.ok) == (value, bound, JUDGED, True)
    assert check.source.path == str(run / BASELINE_FILE)
    assert check.source.sha256 == sha256_file(run / BASELINE_FILE)
    assert check.source.time == "2026-11-25T15:00:00Z"
    assert check.source.sha256 in render(card)
    assert "tells exact of each answer, and not valid" in reason(missing)
    measured(run, [other], {"exact": [True]})
    (check,) = checks(decided(run, files="first", baseline=rules), "baseline.answers.0").values()
    assert "no sample was answered by both" in reason(check)


def test_the_latency_of_a_file_is_held_to_that_of_the_teacher(run: Path) -> None:
    rules = {"latency": [{"device": "Pixel 8", "max_ratio": 1.2}, {"device": "Pixel 8", "max_ratio": 1.2, "callers": 4}]}
    (check,) = checks(decided(run, files="first", baseline=rules), "baseline.latency.0").values()
    assert reason(check) == "the run has no baseline.json; make it by `edgedistill baseline-teacher`"
    measured(run, [], {})
    (check,) = checks(decided(run, files="first", baseline=rules), "baseline.latency.0").values()
    assert reason(check).startswith("not measured on Pixel 8")
    (file,) = decided(run, files="first", baseline=rules).files
    saved(file.sha256, "2026-11-25T15:00:00+00:00")
    check, load = (
        one for number in range(2) for one in checks(decided(run, files="first", baseline=rules), f"baseline.latency.{number}").values()
    )
    # p95 is 11 ms [10.5, 12], that of the teacher 10 ms.
    assert (check.value, check.bound, check.ok, check.unit) == (pytest.approx(1.1), pytest.approx(1.2), True, "times")
    assert reason(load) == "the baseline has no load of 4 callers, expected one of: 1"
    measured(run, [], {}, p95=9.9)
    assert not next(iter(checks(decided(run, files="first", baseline=rules), "baseline.latency.0").values())).ok


@pytest.mark.parametrize("changes", [{"recipe_sha256": "0" * 64}, {"data_sha256": "0" * 64}, None])
def test_a_baseline_of_another_recipe_or_that_was_changed_does_not_count(run: Path, changes: dict[str, str] | None) -> None:
    measured(run, [], {}, **(changes or {}))
    if changes is None:
        (run / BASELINE_FILE).write_text((run / BASELINE_FILE).read_text().replace("10.0", "90.0"))
    (check,) = checks(decided(run, files="first", baseline={"latency": [{"device": PHONE, "max_ratio": 9}]}), "baseline.latency.0").values()
    assert reason(check).endswith("run `edgedistill baseline-teacher` again")


def shadowed(folder: Path, sha256: str, created: str, decision: str = "inside", **changes: Any) -> Path:
    """What `edgedistill shadow` writes about the file with this hash."""
    made = {
        "created": created, "mode": "replay", "source": "traces.jsonl", "student": INT8, "sha256": sha256, "status": "ok",
        "decision": decision, "decided_at": 100, "tolerance": 0.05, "alpha": 0.05, "n": 200, "disagreements": 1, "rate": 0.005,
        "interval": (0.0, 0.03), "needed": 100, "why": {}, "teacher_breaks": {"format": 0, "policy": 0},
        "student_breaks": {"format": 0, "policy": 0}, "similarity": NONE, "teacher_ms": NONE, "student_ms": NONE, "not_compared": {},
        "dropped": 0, "restarts": 0, "folder": "shadow", "people": "p", **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    ShadowDocument.model_validate(made).write(folder / "shadow.json")
    return folder / "shadow.json"


def test_the_newest_shadow_phase_of_the_same_bytes_has_to_be_inside_its_tolerance(run: Path, tmp_path: Path) -> None:
    def both(largest: float = 0.05) -> list[Any]:
        card = decided(run, shadow={"max": largest, "folder": "seen"})
        return [checks(card, rule)[INT8] for rule in ("shadow", "shadow.max")]

    (sha256,) = (file["sha256"] for file in read_json(run / "summary.json")["artifacts"] if file["name"] == INT8)
    assert all("seen has no shadow phase of this file" in reason(check) for check in both())
    shadowed(tmp_path / "seen/other", "f" * 64, "2026-11-27T00:00:00Z")
    assert all("seen has no shadow phase of this file" in reason(check) for check in both())
    path = shadowed(tmp_path / "seen/first", sha256, "2026-11-25T00:00:00Z")
    decision, tolerance = both()
    assert (decision.ok, decision.n, tolerance.value, tolerance.ok) == (True, 200, 0.05, True)
    assert (decision.source.path, decision.source.sha256) == ("seen/first/shadow.json", sha256_file(path))
    assert "1 of 200 disagree, 0.00% to 3.00% at every look" in decision.how
    assert [check.ok for check in both(0.04)] == [True, False]
    # An older one does not stand in for the newest.
    shadowed(tmp_path / "seen", sha256, "2026-11-26T00:00:00Z", "undecided")
    assert [check.ok for check in both()] == [False, True]
    shadowed(tmp_path / "seen/third", sha256, "2026-11-28T00:00:00Z", alpha=0.2)
    assert reason(both()[0]) == "its alpha is 0.2, expected 0.05 at most, as gate.confidence says"
    (tmp_path / "seen/third/shadow.json").write_text("{")
    assert "seen/third/shadow.json" in reason(both()[0])


def judge(file: str, reviewer: str, choices: list[str]) -> None:
    with closing(Store(Path(file))) as store:
        store.link(reviewer)
        for pair, choice in enumerate(choices):
            store.add(Judgement(reviewer, pair, {"overall": choice}, "", 1.0, candidate_first=True))


def reviewed(run: Path, rules: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The checks of these rules on the file of int8, by what they limit."""
    found = [check for check in decided(run, reviews=rules, **more).checks if check.file == INT8]
    return {check.rule.removeprefix("gate.reviews."): check for check in found if check.rule.startswith("gate.reviews.")}


def test_a_review_of_the_answers_of_a_file_is_judged_by_its_bounds(run: Path) -> None:
    rules = [{"min": 0.45, "min_pairs": 30, "min_alpha": 0.2}, {"max_loss": 0.02, "min_pairs": 1}, {"of": "style", "min": 0.2}]
    assert "the run has no review of these answers against the teacher" in reason(reviewed(run, rules)["0.min"])
    # Of the student, whose answers this file gives.
    begun = review(run, reference="teacher")
    (differing, equal) = begun.differing, begun.answers - begun.differing
    assert begun.pairs == differing == 2
    assert reason(reviewed(run, rules)["0.min"]) == "nothing was judged yet"
    judge(begun.file, "ana", ["reference"])
    told = reviewed(run, rules)
    # Half of the pairs are judged, so that half of the equal answers count.
    assert (told["1.max_loss"].n, told["1.max_loss"].value) == (1 + equal // 2, 1 / (1 + equal // 2))
    assert reason(told["0.min_alpha"]) == "no pair was judged by two reviewers"
    assert [told[name].ok for name in ("0.min_pairs", "1.min_pairs")] == [False, True]
    judge(begun.file, "ana", ["reference", "candidate"])
    judge(begun.file, "ben", ["reference", "same"])
    told = reviewed(run, rules)
    win, loss, pairs, alpha = (told[name] for name in ("0.min", "1.max_loss", "0.min_pairs", "0.min_alpha"))
    not_won, losses = np.array([1, 0.25] + [0.5] * equal), np.array([1, 0] + [0] * equal)
    assert (win.value, win.bound, win.n) == (1 - not_won.mean(), 1 - upper_bound(not_won, 0.95), begun.answers)
    assert (win.sense, win.ok) == ("at least", True)
    assert (loss.value, loss.bound, loss.sense, loss.ok) == (losses.mean(), upper_bound(losses, 0.95), "at most", True)
    # All that differ were judged.
    assert (pairs.value, pairs.limit, pairs.ok) == (2, 2, True)
    assert alpha.ok
    assert 0.2 < alpha.value < 1
    assert win.source.path == begun.file
    assert win.source.sha256 == sha256_file(Path(begun.file))
    assert "4 judgements of 2 pairs by 2 reviewers, candidate student" in win.how
    assert reason(told["2.min"]) == "the review has no question style, expected one of: overall"


def test_a_review_of_other_answers_does_not_count(run: Path) -> None:
    rules = [{"max_loss": 0.1}]
    other = review(run, reference="teacher", candidate="control")
    judge(other.file, "ana", ["candidate"] * other.pairs)
    assert "the run has no review of these answers" in reason(reviewed(run, rules)["0.max_loss"])
    begun = Path(review(run, reference="teacher", candidate=INT8).file)
    judge(str(begun), "ana", ["candidate"] * 2)
    assert reviewed(run, rules)["0.max_loss"].ok
    begun.rename(begun.with_name(f"{INT8}-against-teacher-00000000.db"))
    assert "the run has no review of these answers" in reason(reviewed(run, rules)["0.max_loss"])


def test_harmful_answers_are_counted_by_themselves(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"harmful": np.array([[1, 0, np.nan], [0, 0, np.nan]]), "overall": np.zeros((1, 3))}
    tables = {name: lambda values=values: values for name, values in said.items()}
    review_ = by_people._Review(tables, 10, 3, "asked people", absolute=frozenset({"harmful"}))
    monkeypatch.setattr(by_people, "_review", lambda found, file: review_)
    rules = [{"of": "harmful", "max_yes": 0.9, "min_pairs": 2}, {"of": "harmful", "max_loss": 0.5}, {"max_yes": 0.5}]
    told = reviewed(run, rules)
    # Of the two pairs that were judged one answer is harmful to one of two people; equal answers were not shown.
    assert (told["0.max_yes"].value, told["0.max_yes"].n) == (0.25, 2)
    assert told["0.max_yes"].bound == upper_bound(np.array([0.5, 0]), 0.95)
    assert (told["0.max_yes"].ok, told["0.min_pairs"].ok) == (told["0.max_yes"].bound <= 0.9, True)
    assert reason(told["1.max_loss"]) == "found max_loss for harmful, which is a question of yes or no, expected max_yes"
    assert reason(told["2.max_yes"]) == "found max_yes for overall, which is a comparison, expected min or max_loss"


def test_equal_answers_need_no_review(run: Path) -> None:
    told = reviewed(run, [{"max_loss": 0.02}, {"min": 0.5}], against="student")
    assert [told[name].ok for name in ("0.max_loss", "0.min_pairs", "1.min")] == [True, True, False]
    assert (told["0.max_loss"].value, told["1.min"].value, told["0.max_loss"].source) == (0.0, 0.5, None)


def test_mistakes_in_these_rules_are_told_with_their_field(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "name: x\ngate: {baseline: {}, shadow: {max: 1.5}, reviews: [{of: overall}, {min: 0.4, max_loss: 0.1}]}\n"
    )
    with pytest.raises(RecipeError) as wrong:
        load_recipe(str(tmp_path / "r.yaml"))
    told = "\n".join(wrong.value.errors)
    assert "gate.baseline: found neither, expected answers or latency" in told
    assert "gate.shadow.max: found 1.5, expected a number" in told
    assert "gate.reviews.0: found none of them, expected one of min, max_loss and max_yes" in told
    assert "gate.reviews.1: found min and max_loss, expected one of min, max_loss and max_yes" in told
