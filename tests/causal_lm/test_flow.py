"""A language model from end to end: a teacher writes answers, a student learns on and off policy, and files with a cache are proven."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import edgedistill
from made_llm import fields
from torch.fx import GraphModule, Node

from edgedistill import tasks
from edgedistill.errors import UserError
from edgedistill.files import read_arrays
from edgedistill.gate.review.pairs import Answers
from edgedistill.gate.router import Router
from edgedistill.quantize import grid
from edgedistill.quantize.graph import tensor_of
from edgedistill.recipe.loading import load_recipe, recorded
from edgedistill.records import Unavailable
from edgedistill.records.manifest import Manifest
from edgedistill.runs import open_run
from edgedistill.steps import ledger, lowering, trials
from edgedistill.steps.gate import gate
from edgedistill.steps.route import route
from edgedistill.steps.watched import reference_of_run
from edgedistill.tasks.causal_lm import trial
from edgedistill.tasks.causal_lm.answers.asking import Prompt
from edgedistill.tasks.causal_lm.example import exchange
from edgedistill.tasks.data import chosen
from edgedistill.verify.rungs import load_converted

TARGET = """name: two
description: Both ways to hold a cache.
minimum_os: none
artifacts: [{format: executorch, precision: int4-dynamic}, {format: onnx, precision: fp32}]
"""
FILES = ("student-int4-dynamic.pte", "student-fp32.onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a recipe that uses all ways to learn."""
    folder = tmp_path_factory.mktemp("flow")
    (folder / "two.yaml").write_text(TARGET)
    made = fields(targets=["two.yaml"])
    made["data"] |= {"source": {"example": "tool-calls", "rows": 120}, "tried": 3, "format": "text", "policy": ["(?i)secret"]}
    made["teacher"] |= {"answers": {"sampling": {"samples": 2}, "checks": {"cut_off": True}}}
    align = {"name": "align", "epochs": 1, "lr": 3.0e-3, "online": True, "on_policy": 0.5, "losses": {"jsd": {}}}
    made["distill"] = {"control": True, "calibrate": True, "stages": [align, {"name": "finetune", "epochs": 1, "lr": 3.0e-3}]}
    made["distill"]["stages"].append({"name": "qat", "epochs": 1, "lr": 1.0e-3})
    kept = [{"of": "policy", "min": 0.3}, {"of": "exact", "max_drop": 0.9}, {"of": "valid", "min": 0.3}]
    made["gate"] = {"drop": {"max": 0.9}, "calibration": {"max": 0.99}, "trials": kept}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(made))
    done = edgedistill("run", "tiny.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "tiny"


@pytest.fixture(scope="module")
def summary(folder: Path) -> dict[str, Any]:
    """What the run tells."""
    return json.loads((folder / "summary.json").read_text())  # type: ignore[no-any-return]


def table(summary: dict[str, Any], title: str, number: int = 0) -> dict[str, dict[str, Any]]:
    """The rows of a table of a section, by their first cell and the heading."""
    (section,) = [section for section in summary["sections"] if section["title"] == title]
    found = [block for block in section["blocks"] if block["kind"] == "table"][number]
    return {row[0]: dict(zip(found["columns"], row, strict=True)) for row in found["rows"]}


def test_every_file_is_as_its_program(summary: dict[str, Any]) -> None:
    assert {artifact["name"]: artifact["ok"] for artifact in summary["artifacts"]} == dict.fromkeys(FILES, True)
    rungs = {rung["rung"]: rung for rung in summary["ladder"]}
    # Nothing was calibrated.
    assert set(rungs) == {"teacher", "control", "student", "fake_quant", "int4-dynamic", *FILES}
    assert summary["state"]["output_scale"] == {}
    before = {name: rung["drop_from"] for name, rung in rungs.items()}
    assert (before["fake_quant"], before["int4-dynamic"], before[FILES[0]]) == ("student", "fake_quant", "int4-dynamic")
    assert before[FILES[1]] == "student", "what has no weights of 4 bits is made of the student before the stage"
    assert rungs["fake_quant"]["precision"] == "int4-dynamic simulated"


def test_the_file_of_4_bits_gives_what_training_saw(folder: Path) -> None:
    trained, student = (read_arrays(folder / f"work/programs/rungs/{name}")["logits"] for name in ("fake_quant", "student"))
    file = read_arrays(folder / f"work/val-{FILES[0]}/outputs")["logits"]
    assert np.abs(file - trained).max() < 1e-3 < np.abs(file - student).max()


def test_the_student_and_its_files_are_divided_by_a_temperature(summary: dict[str, Any]) -> None:
    assert 0.1 < summary["state"]["temperature"]["student"] != 1
    found = {rung["rung"]: rung["further"]["ece"] for rung in summary["ladder"]}
    assert 0 <= found["student"] < 1
    assert found[FILES[1]] == pytest.approx(found["student"], abs=1e-4)


def test_the_file_of_4_bits_holds_the_integers_of_the_stage(folder: Path) -> None:
    graph = load_converted(folder / "work/programs/student-qat.pt2")
    grid.put_on_grid(graph, "int4-dynamic")
    file = (folder / "artifacts" / FILES[0]).read_bytes()
    found = [grid.int4_blocks(tensor_of(graph, node.args[1])) for node in grid.weighted(graph, "int4-dynamic") if in_blocks(graph, node)]
    assert len(found) == 7, "all but the layer of 48 inputs"
    for each in found:
        halves = (each.steps.flatten() + 8).to(torch.uint8)
        assert (halves[::2] + 16 * halves[1::2]).numpy().tobytes() in file
        assert each.scale.flatten().bfloat16().view(torch.int16).numpy().tobytes() in file


def in_blocks(graph: GraphModule, node: Node) -> bool:
    return grid.in_blocks(tuple(tensor_of(graph, node.args[1]).shape))


def test_the_student_learns_the_teachers_answers_beside_the_data(folder: Path) -> None:
    answers = json.loads((folder / "work/records/answers.json").read_text())["result"]
    data, taught = read_arrays(folder / "work/data"), read_arrays(folder / "work/answers")
    train = int((data["split"] == 0).sum())
    assert answers["kept"] > 0
    assert int((taught["split"] == 0).sum()) == train + answers["kept"]
    for number in (1, 2):
        for name in ("tokens", "prompts", "counts"):
            assert np.array_equal(data[name][data["split"] == number], taught[name][taught["split"] == number])
    lines = [json.loads(line) for line in (folder / "work/answers/provenance.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(len(data["split"]), len(taught["split"])))


def test_files_write_what_the_student_writes(folder: Path) -> None:
    written = {name: trial.read(folder / f"work/trial-{name}")[0] for name in ("student", "student-fp32.onnx")}
    assert written["student"] == written["student-fp32.onnx"]
    assert all(written["student"])


def test_the_gate_judges_answers_of_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The recipe names its target by a path.
    monkeypatch.chdir(folder.parent.parent)
    found = {(check.file, check.rule.removeprefix("gate.")): check for check in gate(folder).card.checks}
    assert {file for file, _ in found} == set(FILES)
    policy, exact, valid = (found[FILES[1], f"trials.{number}"] for number in range(3))
    # Whole answers to prompts of the holdout, by files and by what a drop is measured from; one opening has all.
    assert {path.name for path in (folder / "work").glob("holdout-trial-*")} == {f"holdout-trial-{name}" for name in ("teacher", *FILES)}
    data = tasks.task("causal-lm").dataset(recorded(folder), folder / "work/data")
    (answered,) = {json.dumps(read_arrays(folder / f"work/holdout-trial-{name}/prompts")["tokens"].tolist()) for name in FILES}
    assert [[token for token in row if token >= 0] for row in json.loads(answered)] == [
        data.prompt(row).tolist() for row in chosen(data, "holdout", 3)
    ]
    assert len((folder.parent / "holdout-openings.jsonl").read_text().splitlines()) == 1
    assert (policy.value, policy.n, policy.ok) == (1.0, 3, True)
    # Of 3 of 3, Clopper and Pearson's bound is the third root of 0.05.
    assert policy.bound == pytest.approx(0.05 ** (1 / 3), abs=0.02)
    assert (exact.title, exact.n) == ("Answers, exact: drop against the teacher", 3)
    assert valid.value == Unavailable(unavailable="trials tell exact, policy, and not valid")
    drop, error = found[FILES[0], "drop"], found[FILES[0], "calibration"]
    assert (drop.n, drop.ok, error.ok) == (12, True, True)


def test_unsure_answers_are_routed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent.parent)
    found = route(folder, rate=0.3, right="policy")
    assert {artifact.name for artifact in found.artifacts} == set(FILES)
    assert (found.metric.name, found.table.by) == ("policy", "mean")
    for artifact in found.artifacts:
        assert (artifact.n, artifact.errors, artifact.score.teacher) == (3, 0, 1.0)
        logprobs = read_arrays(folder / f"work/trial-{artifact.name}/answers")["logprobs"]
        tokens = read_arrays(folder / f"work/trial-{artifact.name}/answers")["tokens"]
        assert ((logprobs <= 0) == (tokens >= 0)).all()
        assert Router.load(folder, artifact.name).asks_teacher({"logprobs": logprobs}).sum() == artifact.sent.count
    with pytest.raises(UserError, match="do not make one decision for a sample; leave out --always"):
        route(folder, rate=0.3, always=["1"])
    with open_run(folder) as run:
        reference = reference_of_run(run)
    assert reference is not None
    assert {name: known.n for name, known in reference.artifacts.items()} == dict.fromkeys(FILES, 3)


def test_what_was_tried_on_the_holdout_is_not_tried_again(folder: Path) -> None:
    with open_run(folder) as run:
        trials.on_holdout(run, recorded(folder), lowering.lowered(run), lambda: pytest.fail("the holdout is opened"))


@pytest.mark.parametrize(
    ("rules", "tried"),
    [
        (None, []),
        ({"size": {"max_mb": 1}}, []),
        ({"trials": [{"of": "valid", "min": 0.5}]}, [()]),
        ({"trials": [{"of": "valid", "min": 0.5}, {"of": "exact", "max_drop": 0.1}], "against": "student"}, [("student",)]),
    ],
)
def test_only_what_a_rule_judges_is_tried_on_the_holdout(
    monkeypatch: pytest.MonkeyPatch, rules: dict[str, Any] | None, tried: list[Any]
) -> None:
    seen = []
    monkeypatch.setattr(trials, "make", lambda run, recipe, specs, split, rungs, before: seen.append(rungs))
    trials.on_holdout(None, load_recipe({**fields(), "gate": rules}).recipe, [], lambda: None)
    assert seen == tried


def test_the_report_tells_answers_fidelity_and_cost(summary: dict[str, Any]) -> None:
    whole = table(summary, "Whole answers")
    assert list(whole) == ["teacher", "control", "student", *FILES]
    assert "p = " in whole[FILES[1]]["against the student"]
    assert "lost 0, won 0" in whole[FILES[1]]["against the student"]
    assert whole["student"]["within the policy"].startswith("100.0% [")
    assert 0 <= float(whole[FILES[0]]["rougeL"]) <= 1
    fidelity = table(summary, "Fidelity of the files")
    exact, rounded = (float(fidelity[name]["KL(student || file), nats a token"].split()[0]) for name in reversed(FILES))
    assert exact < 1e-9 < rounded < 0.5, "4 bits, and an epoch more"
    cost = table(summary, "What a token costs")
    assert list(cost) == list(FILES)
    # Two layers less one, keys and values of 2 heads of 8 numbers in float32, at 88 positions.
    assert float(cost[FILES[0]]["cache, KB a position"]) == pytest.approx(1 * 2 * 2 * 8 * 4 / 1000, rel=0.01)
    cache = table(summary, "What a token costs", 1)
    assert [(place, float(row[FILES[0]])) for place, row in cache.items()] == [
        (f"{count}", pytest.approx(count * 1 * 2 * 2 * 8 * 4 / 1e6, rel=0.01)) for count in (64, 88)
    ]
    (told,) = [section["text"] for section in summary["sections"] if section["title"] == "Answers of the teacher"]
    assert "0 were there from earlier runs" in told


def test_people_compare_its_answers(folder: Path) -> None:
    with open_run(folder) as run:
        answers = Answers(run, recorded(folder))
        contest = answers.contest(None, FILES[1])
        data = answers.data
        assert (contest.reference, contest.candidate, contest.rubric) == ("teacher", FILES[1], "answers/2")
        written, _ = trial.read(folder / f"work/trial-{FILES[1]}")
        assert [theirs for _, theirs in contest.answers.values()] == [data.text(tokens) for tokens in written]
        for sample in contest.answers:
            prompt = answers.pair(contest, sample).prompt
            assert prompt.startswith("<|user|>")
            assert prompt.endswith("<|assistant|>")
            assert data.text(data.prompt(sample)) in prompt.replace("<|end|>", "")


def test_the_bundle_has_tokenizer_and_template(folder: Path) -> None:
    bundle = folder / "bundles" / "two"
    assert Manifest.model_validate_json((bundle / "manifest.json").read_text()).task == "causal-lm"
    assert {"tokenizer.json", "chat_template.jinja"} <= {path.name for path in bundle.rglob("*")}


@pytest.mark.slow
def test_another_run_of_the_same_teacher_pays_nothing_again(folder: Path) -> None:
    made = yaml.safe_load((folder.parent.parent / "tiny.yaml").read_text())
    made["name"] = "again"
    made["teacher"]["answers"]["checks"] = {"cut_off": True, "duplicates": 2}
    (folder.parent.parent / "again.yaml").write_text(yaml.safe_dump(made))
    done = edgedistill("distill", "again.yaml", "--json", cwd=folder.parent.parent)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((folder.parent / name / "work/records/answers.json").read_text())["result"] for name in ("tiny", "again"))
    assert second["answered"] == 0
    assert second["recorded"] == first["answered"]


@pytest.mark.parametrize("split", [0, 1])
def test_a_removed_example_leaves_no_byte_of_it(folder: Path, tmp_path: Path, split: int) -> None:
    shutil.copytree(folder.parent, tmp_path / "runs")
    run, cache = tmp_path / "runs/tiny", tmp_path / "runs/.cache/answers/answers.sqlite"
    data = read_arrays(run / "work/data")
    sample = int(np.flatnonzero(data["split"] == split)[1])
    prompt, completion = exchange(sample)
    row = data["tokens"][sample][: data["counts"][sample]]
    needles = [prompt.encode(), json.dumps(completion).encode(), row.tobytes(), row.astype(np.int64).tobytes()]
    if split == 0:
        key = Prompt([{"role": "user", "content": prompt}]).key
        needles += [key.encode()]
        with sqlite3.connect(cache) as answers:
            needles += [text.encode() for (text,) in answers.execute("SELECT text FROM answers WHERE key = ?", (key,)) if len(text) > 20]
        assert len(needles) > 5
    assert traces(tmp_path, needles)
    named = ledger.Named(sample=("tiny", sample))
    assert ledger.remove_example(tmp_path / "runs", named, None, dry_run=True).row is None
    assert traces(tmp_path, needles)
    removal = ledger.remove_example(tmp_path / "runs", named, None)
    assert (removal.runs, removal.answers) == (["tiny"], 2 if split == 0 else 0)
    assert traces(tmp_path, needles) == []
    # Weights and files stay, for those who use them until the run is made again.
    assert (run / "artifacts" / FILES[0]).exists()


def traces(folder: Path, needles: list[bytes]) -> list[str]:
    """The files in which one of the needles is."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [str(path) for path in files if any(needle in path.read_bytes() for needle in needles)]
