"""The advice on a recipe: each finding by its figures, what follows from them, and the command on a run."""

import json
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import numpy as np
import pytest
import yaml
from made_documents import DEVICES, bench

from edgedistill import UserError, advise, load_recipe, tasks
from edgedistill.recipe.precisions import bits
from edgedistill.records import Latency, Score, Unavailable
from edgedistill.records.advice import Finding
from edgedistill.records.baseline import Baseline, Load, TeacherBaseline
from edgedistill.records.documents import documents
from edgedistill.records.summary import Summary
from edgedistill.steps.advise import findings, fit
from edgedistill.steps.advise.document import concluded
from edgedistill.steps.advise.evidence import Evidence
from edgedistill.tasks.causal_lm import demands
from edgedistill.tasks.causal_lm.recipe import Data
from edgedistill.tasks.causal_lm.source import Exchanges
from edgedistill.tasks.intervals import difference_of_shares
from edgedistill.tasks.requests import Demands
from edgedistill.verify.scoring import Difference

PHONE = "adb:0A1B2C"
LIMITED = """
name: small
description: A device with limits.
minimum_os: any
artifacts: [{{format: onnx, precision: int8}}, {{format: onnx, precision: fp32}}]
device_budgets: {{{}}}
"""


def known(**more: Any) -> Evidence:
    """What is known of a recipe; `more` replaces some."""
    recipe = load_recipe("quickstart").recipe
    facts: dict[str, Any] = {
        "recipe": recipe, "task": tasks.task(recipe.task), "run": "runs/q", "command": "edgedistill run q.yaml",
        "splits": {"train": 1000, "val": 500}, "parameters": {"student": 100_000, "teacher": 1_000_000},
    }  # fmt: skip
    return Evidence(**facts | more)


def only(found: list[Finding], subject: str) -> Finding:
    (one,) = [finding for finding in found if finding.subject == subject]
    return one


@pytest.mark.parametrize(
    ("difference", "interval", "severity", "said"),
    [
        (0.05, (0.02, 0.08), "ok", "The teacher is better than the control: +5.0 points"),
        (0.01, (-0.02, 0.04), "warning", "Val can't tell"),
        (-0.01, (-0.02, 0.01), "against", "no better than the control"),
        (0.0, (-0.02, 0.02), "against", "no better than the control"),
        (-0.05, (-0.08, -0.02), "against", "no better than the control"),
    ],
)
def test_the_teacher_has_to_be_better_than_the_control(difference: float, interval: tuple, severity: str, said: str) -> None:
    found = only(list(findings.of_models(known(gap=Difference(3, 500, difference, interval)))), "teacher")
    assert found.severity == severity
    assert said in found.text
    assert (found.figures["teacher less control"], found.figures["n"]) == (difference, 500)
    assert (found.instead is None) == (severity == "ok")


def test_a_student_that_was_helped_excuses_its_teacher(tiny: Path) -> None:
    summary = Summary.read(tiny / "runs/tiny/summary.json")
    summary.verdict.outcome = "helped"
    found = only(list(findings.of_models(known(gap=Difference(3, 500, -0.01, (-0.02, 0.01)), summary=summary))), "teacher")
    assert (found.severity, found.instead) == ("warning", "Take a better teacher.")


def test_what_would_tell_the_teacher_from_the_control_is_counted() -> None:
    found = only(list(findings.of_models(known(gap=Difference(3, 500, 0.01, (-0.02, 0.04))))), "teacher")
    # An interval three times as wide as the difference takes nine times the samples.
    assert found.figures["samples that would tell"] == 4500
    assert "4,500 images" in str(found.instead) or "4,500 samples" in str(found.instead)


def test_without_figures_the_command_that_makes_them_is_named() -> None:
    none = Unavailable(unavailable="not both were run on val")
    found = [*findings.of_models(known(gap=Difference(none, 0, none, none))), *findings.of_baseline(known())]
    assert only(found, "teacher").severity == "unknown"
    assert only(found, "teacher").command == "edgedistill distill q.yaml"
    assert only(found, "control").command == "edgedistill distill q.yaml"
    assert only(found, "baseline").command == "edgedistill baseline-teacher q.yaml"
    assert concluded("q", "runs/q", found).verdict == "unclear"


def baseline(answers: dict[str, Score], wrong: int = 0, errors: int = 0) -> Baseline:
    """The baseline of a service that was asked 100 times."""
    load = Load(
        callers=4, requests=100, errors=errors, latency_ms=Latency(p50=80.0, p95=120.0, p99=130.0, n=100), seconds=2.0, answers_per_s=50.0
    )
    none = Unavailable(unavailable="none")
    teacher = TeacherBaseline(
        name="teacher", model="m", where="host", settings={}, score=none, further={}, answers=answers,
        format_errors=Score(value=wrong / 100, n=100, interval=(0.0, 1.0)), load=[load], cost=none,
    )  # fmt: skip
    return Baseline(
        name="q", run="runs/q", created="", task="t", metric=tasks.task("causal-lm").metric, recipe_sha256="", data_sha256="", samples=100,
        environment={}, teachers=[teacher],
    )  # fmt: skip


def test_a_teacher_that_only_writes_is_compared_by_its_right_answers() -> None:
    right = Score(value=0.9, correct=90, n=100, interval=(0.82, 0.94))
    control = {"exact": {"right": 50, "n": 100, "interval": [0.4, 0.6]}}
    found = only(list(findings.of_models(known(baseline=baseline({"exact": right}), control=control))), "teacher")
    assert found.severity == "ok"
    assert found.figures["teacher less control"] == pytest.approx(0.4)
    assert 0.2 < float(found.figures["low"]) < 0.4 < float(found.figures["high"]) < 0.6


@pytest.mark.parametrize(("wrong", "errors", "severities"), [(0, 0, ("ok", "ok")), (3, 0, ("warning", "ok")), (0, 2, ("ok", "warning"))])
def test_a_teacher_that_breaks_the_format_or_fails_is_no_bar(wrong: int, errors: int, severities: tuple[str, str]) -> None:
    found = list(findings.of_baseline(known(baseline=baseline({}, wrong, errors))))
    assert (only(found, "format").severity, only(found, "load").severity) == severities
    assert only(found, "load").figures["p95 ms, 4 callers"] == 120.0
    assert only(found, "cost").command == "edgedistill baseline-teacher q.yaml --assumptions prices.yaml"


@pytest.mark.parametrize(
    ("asked", "facts", "steps"),
    [
        (Demands(0, 100, "x", (20, 40), (1, 1)), "ok", "ok"),
        (Demands(6, 100, "x", (20, 600), (1, 1)), "warning", "warning"),
        (Demands(25, 100, "x", (20, 40), (3, 9)), "warning", "warning"),
        (Demands(60, 100, "x", (20, 40), (5, 9)), "against", "against"),
    ],
)
def test_rare_facts_and_long_chains_speak_against_a_small_model(asked: Demands, facts: str, steps: str) -> None:
    found = list(findings.of_samples(known(demands=asked)))
    assert (only(found, "facts").severity, only(found, "steps").severity) == (facts, steps)
    verdict = concluded("q", "runs/q", [*found, Finding(subject="teacher", severity="ok", text="", figures={}, source="")]).verdict
    assert verdict == ("not_here" if "against" in (facts, steps) else "distil")


@pytest.mark.parametrize(("val", "severity"), [(100, "warning"), (500, "ok")])
def test_a_small_val_is_told_with_what_it_would_take(val: int, severity: str) -> None:
    found = only(list(findings.of_samples(known(splits={"train": 10, "val": val}))), "val")
    assert found.severity == severity
    assert val == 500 or "about 370" in str(found.instead)


def test_a_student_as_large_as_its_teacher_makes_nothing_smaller() -> None:
    sizes = {"student": 90, "teacher": 100}
    assert only(list(findings.of_models(known(parameters=sizes))), "size").severity == "warning"
    assert only(list(findings.of_models(known())), "size").severity == "ok"


def limited(folder: Path, limits: str, **more: Any) -> Finding:
    """What is found out about a target with such limits."""
    (folder / "small.yaml").write_text(LIMITED.format(limits))
    recipe = load_recipe("quickstart", [f"targets=[{folder / 'small.yaml'}]"]).recipe
    (found,) = fit.of_targets(known(recipe=recipe, **more))
    return found


def test_a_student_whose_weights_alone_are_too_large_does_not_fit(tmp_path: Path) -> None:
    large = {"student": 4 * 2**20}
    found = limited(tmp_path, "peak_rss_mb: 3", parameters=large)
    assert found.severity == "against"
    assert found.figures["MiB, student-int8.onnx"] == 4.0
    assert "its weights alone take 4.0 MiB, and peak_rss_mb is 3" in found.text
    # int8 fits, fp32 with 16 MiB need not.
    found = limited(tmp_path, "peak_rss_mb: 8, p50_ms: 5", parameters=large)
    assert (found.severity, found.figures["MiB, student-fp32.onnx"]) == ("unknown", 16.0)
    assert found.command == "edgedistill students mobilenetv4_conv_small --target small --max-ms 5"


def test_each_precision_has_its_bits() -> None:
    expected = {"int8": 8, "int16x8": 8, "int8-dynamic": 8, "int4-dynamic": 4, "int4-weights": 4, "palette4": 4, "fp16": 16, "fp32": 32}
    assert {precision: bits(precision) for precision in expected} == expected


def test_files_of_a_run_are_held_to_the_limits_as_they_were_measured(tmp_path: Path, tiny: Path) -> None:
    summary = Summary.read(tiny / "runs/tiny/summary.json")
    found = limited(tmp_path, "p95_ms: 0.000001", summary=summary)
    assert found.severity == "warning"
    assert "on this machine" in found.text
    assert found.command == "edgedistill bench runs/q --device DEVICE"
    assert limited(tmp_path, "p95_ms: 1000000, peak_rss_mb: 100000", summary=summary).severity == "ok"
    assert limited(tmp_path, "").severity == "unknown"


@pytest.mark.parametrize(
    ("spec", "validity", "p50", "severity"),
    [
        (PHONE, "valid", 5.0, "ok"), (PHONE, "valid", 2e6, "against"), (PHONE, "noisy", 2e6, "ok"), ("local", "valid", 2e6, "ok"),
    ],
)  # fmt: skip
def test_only_a_valid_measurement_on_a_device_decides(
    tmp_path: Path, tiny: Path, spec: str, validity: str, p50: float, severity: str
) -> None:
    summary = Summary.read(tiny / "runs/tiny/summary.json")
    # This machine keeps the limit, so that what else counts is the device.
    device = DEVICES[PHONE] | {"spec": spec}
    names = [f"student-{precision}.onnx" for precision in ("int8", "fp32")]
    summary.devices = [bench(PHONE, name, p50, device=device, validity=validity) for name in names]
    found = limited(tmp_path, "p50_ms: 1000000", summary=summary)
    assert found.severity == severity
    assert (f"p50_ms 2e+06 on {PHONE}" in found.text) == (severity == "against")


def test_the_words_that_training_does_not_show_are_counted(tmp_path: Path) -> None:
    def row(split: str, *said: str, good: bool = True) -> dict[str, str]:
        messages = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)]
        return {"messages": json.dumps(messages), "split": split, "good": str(good)}

    known = [row("train" if n < 15 else "val", f"where is {n}", f"{n} is in the garden") for n in range(20)]
    city = ("capital of Mali?", "in the garden", "which city?", "Bamako is in the garden")
    # Neither the holdout nor an answer to avoid shows the city.
    rows = [*known, row("val", *city), row("val", *city), row("holdout", *city), row("train", *city, good=False)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"messages": "messages", "split_column": "split", "good": "good"}
    config = Data.model_validate({"source": {"jsonl": str(tmp_path / "rows.jsonl")}, "tokenizer": {"vocabulary": 300}, **columns})
    source = Exchanges(config, None)
    source.prepare(tmp_path / "data", 0)
    from edgedistill.tasks.causal_lm.dataset import Completions
    from edgedistill.tasks.causal_lm.facts import LanguageFacts

    found = demands.demands(source, Completions(tmp_path / "data", LanguageFacts.read(tmp_path / "data"), config))
    # Of seven rows of val five copy a number from their prompt, and two know a city.
    assert (found.unseen, found.n) == (2, 7)
    assert found.steps == (1.0, 2.0)
    assert found.length is not None
    assert found.length[0] > 5


def test_the_classes_that_training_does_not_show_are_counted() -> None:
    class Samples:
        indices: ClassVar = {"train": np.arange(4), "val": np.arange(4, 8)}

        def targets(self, indices: np.ndarray) -> dict[str, np.ndarray]:
            return {"logits": np.array([0, 1, 0, 1, 0, 1, 2, 3])[indices]}

    found = tasks.task("image-classification").demands(known().recipe, Samples())  # type: ignore[arg-type]
    assert found is not None
    assert (found.unseen, found.n) == (2, 4)


def test_the_difference_of_two_shares_is_that_of_the_paper() -> None:
    # Newcombe 1998, table II, example (a): 56 of 70 less 48 of 80 by method 10.
    assert difference_of_shares(56, 70, 48, 80) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_the_command_tells_of_a_run_and_leaves_it_as_it_was(tiny: Path) -> None:
    folder = tiny / "runs/tiny"
    before = {path: path.read_bytes() for path in (folder / "recipe.json", folder / "summary.json")}
    advice = advise(str(tiny / "tiny.yaml"), tiny / "runs")
    jsonschema.validate(advice.model_dump(mode="json"), documents()["advise"].model_json_schema(mode="serialization"))
    gap = only(advice.findings, "teacher").figures
    scores = {row["rung"]: row["score"]["val"]["value"] for row in json.loads((tiny / "result.json").read_text())["ladder"]}
    assert gap["teacher less control"] == pytest.approx(scores["teacher"] - scores["control"])
    assert only(advice.findings, "facts").figures["unseen"] == 0
    assert {finding.subject for finding in advice.findings} >= {"control", "size", "val", "targets"}
    assert {path: path.read_bytes() for path in before} == before
    changed = yaml.safe_load((tiny / "tiny.yaml").read_text()) | {"seed": 5}
    with pytest.raises(UserError, match="was trained by a recipe with another seed"):
        advise(changed, tiny / "runs")
    assert {path: path.read_bytes() for path in before} == before


def test_a_recipe_that_distils_nothing_gets_no_advice(tmp_path: Path) -> None:
    fields = {"name": "x", "data": {}, "teacher": None, "distill": None, "student": {"model": "test_resnet", "pretrained": True}}
    with pytest.raises(UserError, match="found distill: null"):
        advise(fields, tmp_path)
