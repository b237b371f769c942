"""A whole distillation whose teacher is a service: it writes answers and tells nothing else."""

import json
from pathlib import Path

import yaml
from conftest import edgedistill
from made_llm import fields
from made_service import served


def test_a_service_teaches_a_student(tmp_path: Path) -> None:
    with served() as url:
        made = fields(teacher={"endpoint": {"base_url": url, "model": "m"}, "answers": {"keep_data": False}})
        made["data"]["source"]["rows"] = 120
        made["distill"]["stages"] = [{"name": "finetune", "epochs": 1, "losses": {"ce": {}}}]
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(made))
        done = edgedistill("distill", "tiny.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs/tiny/summary.json").read_text())
    assert [rung["rung"] for rung in summary["ladder"]] == ["student"]
    assert summary["teacher"]["model"] == "m"
    answers = json.loads((tmp_path / "runs/tiny/work/records/answers.json").read_text())["result"]
    assert answers["kept"] == answers["prompts"] == answers["answered"]
