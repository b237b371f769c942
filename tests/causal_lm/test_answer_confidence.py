"""How sure a language model is of whole answers: the measures, the decision table, and the code of apps."""

import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgedistill.errors import UserError
from edgedistill.files import write_arrays
from edgedistill.gate.router import Router, made_table
from edgedistill.steps.answers import WrittenAnswers
from edgedistill.tasks.base import ROUTER_GLUE
from edgedistill.tasks.causal_lm import trial
from edgedistill.tasks.causal_lm.confidence import confidences, filled
from edgedistill.tasks.causal_lm.task import CAUSAL_LM

FILE = "student-fp32.onnx"
LOGPROBS = filled([np.log([0.9, 0.4, 0.6]), np.log([0.5]), []], 5)


def test_the_measures_are_those_of_the_tokens() -> None:
    found = confidences(LOGPROBS)
    assert found["mean"].tolist() == pytest.approx([(0.9 * 0.4 * 0.6) ** (1 / 3), 0.5, 0.0])
    assert found["least"].tolist() == pytest.approx([0.4, 0.5, 0.0])
    assert found["first"].tolist() == pytest.approx([0.9, 0.5, 0.0])
    # What is no number is not sure.
    assert np.isnan(confidences(np.array([[-0.1, np.nan, -0.1]]))["mean"]).all()


def answers(folder: Path, trials: dict[str, dict[str, Any]], right: str = "exact") -> WrittenAnswers:
    """Those of a run with `trials`: the verdict `exact`, and `logprobs`, or the figures of one that failed."""
    for name, told in trials.items():
        arrays = {key: value for key, value in told.items() if key in ("logprobs", "prompts")}
        write_arrays(folder / f"trial-{name}" / trial.ANSWERS, {"tokens": np.full((3, 5), -1, np.int32), **arrays})
        write_arrays(folder / f"trial-{name}" / trial.VERDICTS, {"exact": np.array(told.get("exact", [True] * 3))})
    figures = {f"trial-{name}": {key: told[key] for key in ("error",) if key in told} for name, told in trials.items()}
    run = SimpleNamespace(result=figures.get, check=lambda step: None, work=lambda step: folder / step)
    return WrittenAnswers(SimpleNamespace(task=CAUSAL_LM, run=run), right)  # type: ignore[arg-type]


def test_answers_of_trials_are_scored_by_their_verdicts(tmp_path: Path) -> None:
    trials = {
        FILE: {"exact": [True, False, False], "logprobs": LOGPROBS, "prompts": np.array([7, 8, 9])},
        "teacher": {"exact": [True, True, False]},
    }
    found = answers(tmp_path, trials)
    assert found.why_not(FILE) is None
    assert found.scores(FILE).tolist() == [True, False, False]
    assert found.confidences(FILE)["least"].tolist() == pytest.approx([0.4, 0.5, 0.0])
    teacher = found.scores_of_teacher(FILE)
    assert teacher is not None
    assert teacher.tolist() == [True, True, False]
    assert found.metric.name == "exact"


def test_why_there_are_no_answers_is_said(tmp_path: Path) -> None:
    found = answers(tmp_path, {"old": {}, "broken": {"error": "no memory"}})
    assert "go on with `edgedistill run` of the run's recipe" in str(found.why_not("old"))
    assert found.why_not("broken") == "no memory"
    assert found.why_not("other") == "other was not tried on whole rows"
    assert found.scores_of_teacher("old") is None
    with pytest.raises(UserError, match="found hope as what says that an answer is right, expected --right with one of exact"):
        answers(tmp_path, {FILE: {"logprobs": LOGPROBS}}, "hope").why_not(FILE)


@pytest.fixture
def replies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the package of a bundle that has the router."""
    package = tmp_path / "answering_model"
    package.mkdir()
    (package / "__init__.py").touch()
    root = Path(trial.__file__).parents[2]
    for path in (
        ROUTER_GLUE / "python/decision_table.py",
        root / "tasks/causal_lm/glue/python/replies.py",
        root / "bundle/glue/python/errors.py",
    ):
        shutil.copy(path, package)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == package.name]:
        monkeypatch.delitem(sys.modules, name)
    return import_module(f"{package.name}.replies")


@pytest.mark.parametrize("by", ["mean", "least", "first"])
def test_apps_follow_the_table(replies: ModuleType, by: str) -> None:
    table = made_table(Router(CAUSAL_LM.name, by, None), {FILE: 0.45, "other": None}).model_dump(mode="json")
    assert {row["teacher"] for row in table["golden"]} == {True, False}
    router = replies.Router({"router": table}, FILE, ())
    assert router.wrong_rows() == 0
    for logprobs, expected in zip((np.log([0.9, 0.4, 0.6]), np.log([0.5]), []), confidences(LOGPROBS)[by], strict=True):
        reply = replies.Reply("", (), "stop", 0.0, list(logprobs))
        assert router.confidence(reply) == pytest.approx(expected)
        assert router.asks_teacher(reply) == (expected <= 0.45)
        assert replies.Router({"router": table}, "other", ()).asks_teacher(reply)
        assert not replies.Router({}, FILE, ()).asks_teacher(reply)
    table["golden"][2]["confidence"] += 1e-6
    table["golden"][3]["teacher"] ^= True
    assert router.wrong_rows() == 2
