"""A run with a gold set and a holdout of its own, whose teacher is a service that is asked about the data alone."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import edgedistill
from made_llm import fields, write_jsonl
from made_service import served

from edgedistill.files import read_arrays
from edgedistill.tasks.causal_lm.example import exchange

pytestmark = pytest.mark.slow


def rows(first: int, count: int) -> list[dict[str, Any]]:
    """Made tool calls that the service does not know."""
    return [dict(zip(("prompt", "completion"), exchange(number), strict=True)) for number in range(first, first + count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one recipe, the second with another weight; the work folder of both."""
    place = tmp_path_factory.mktemp("sets")
    write_jsonl(place / "gold.jsonl", rows(1000, 40))
    write_jsonl(place / "traces.jsonl", rows(2000, 10))
    with served() as url:
        made = fields(teacher={"endpoint": {"base_url": url, "model": "m"}, "answers": {"keep_data": False}})
        made["data"]["source"]["rows"] = 120
        made["data"] |= {
            "sets": {"gold": {"source": {"jsonl": "gold.jsonl"}, "weight": 3}},
            "holdout": {"source": {"jsonl": "traces.jsonl"}},
        }
        made["distill"]["stages"] = [{"name": "finetune", "epochs": 1, "losses": {"ce": {}}}]
        for weight in (3, 5):
            again = copy.deepcopy(made)
            again["data"]["sets"]["gold"]["weight"] = weight
            (place / "tiny.yaml").write_text(yaml.safe_dump(again))
            done = edgedistill("run", "tiny.yaml", "--json", cwd=place)
            assert done.returncode == 0, done.stderr
            (place / f"{weight}.log").write_text(done.stderr)
            (place / f"{weight}.json").write_text(done.stdout)
    return place


def test_rows_of_a_set_keep_their_answers(folder: Path) -> None:
    learned, answers = read_arrays(folder / "runs/tiny/work/answers"), folder / "runs/tiny/work/answers/fields"
    sets = read_arrays(answers)["set"]
    train = sets[learned["split"] == 0]
    assert sorted(set(train.tolist())) == ["data", "gold"]
    assert (train == "gold").sum() == 32
    record = json.loads((folder / "runs/tiny/work/records/answers.json").read_text())["result"]
    assert record["prompts"] == (train == "data").sum()


def test_the_report_has_a_row_for_each_set(folder: Path) -> None:
    summary = json.loads((folder / "runs/tiny/summary.json").read_text())
    on_holdout = [rung for rung in summary["ladder"] if "n" in rung["score"]["holdout"]]
    assert "student-fp32.onnx" in [rung["rung"] for rung in on_holdout]
    for rung in on_holdout:
        assert [rung["sets"][name]["holdout"]["n"] for name in ("gold", "holdout")] == [4, 10]
        assert rung["sets"]["data"]["holdout"]["unavailable"] == "the set data has no rows in holdout"
    for rung in summary["ladder"]:
        assert rung["sets"]["gold"]["val"]["n"] == 4
        whole = rung["score"]["val"]
        parts = [rung["sets"][name]["val"] for name in ("data", "gold")]
        assert sum(part["n"] for part in parts) == whole["n"]
        assert sum(part["n"] * part["value"] for part in parts) / whole["n"] == pytest.approx(whole["value"])
    page = (folder / "runs/tiny/report.html").read_text()
    assert "on each set of the data" in page
    assert "Whole answers of each set of the data" in page


def test_another_weight_trains_the_student_and_prepares_no_data(folder: Path) -> None:
    first, second = (json.loads((folder / f"{weight}.json").read_text()) for weight in (3, 5))
    assert first["data"]["sha256"] == second["data"]["sha256"]
    assert first["curves"]["student"] != second["curves"]["student"]
    said = (folder / "5.log").read_text()
    assert "tokenize" not in said
    assert "asked" not in said
