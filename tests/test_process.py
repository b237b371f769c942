"""The process of docs/process.md, from the baseline to the bundle: its commands, in their order, on a small version of its recipe."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import edgedistill

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/process.md").read_text()
RECIPE, RUN = "recipes/llm/tool-calls.yaml", "runs/tool-calls"
TINY = {
    "data": {"rows": 400, "vocabulary": 320, "length": 88, "tried": 20, "batch_size": 16},
    "teacher": {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4},
    "student": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2},
}


def commands() -> list[list[str]]:
    """The command lines of the page, without the name of the program."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines() if line.startswith("edgedistill ")]


def small(folder: Path) -> None:
    """Write the recipe of the page into `folder`, made small, and what else its commands name."""
    fields = yaml.safe_load((ROOT / RECIPE).read_text())
    fields["data"] |= {name: TINY["data"][name] for name in ("length", "tried", "batch_size")}
    fields["data"]["source"]["rows"] = TINY["data"]["rows"]
    fields["data"]["tokenizer"]["vocabulary"] = TINY["data"]["vocabulary"]
    fields["data"]["split"] = {"val": 0.1, "holdout": 0.1}
    fields["teacher"] = {"config": fields["teacher"]["config"] | TINY["teacher"], "train": {"epochs": 3, "lr": 3.0e-3}}
    fields["student"]["config"] |= TINY["student"]
    fields["distill"]["stages"][0]["epochs"] = 1
    fields["measure"] = {"threads": 1, "warmup_s": 0.0, "max_s": 0.1, "min_samples": 20}
    path = folder / RECIPE
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(fields))
    shutil.copy(ROOT / "examples/cost/prices.yaml", folder)


def test_the_table_of_the_page_names_each_of_its_commands() -> None:
    rows = re.findall(r"^\| \d+\. .*", PAGE, re.MULTILINE)
    assert [int(row.split(".")[0].strip("| ")) for row in rows] == list(range(1, 12))
    assert {line[0] for line in commands()} >= {"baseline-teacher", "advise", "run", "bundle", "cost"}


@pytest.mark.slow
def test_the_commands_of_the_page_run_in_their_order(tmp_path: Path) -> None:
    small(tmp_path)
    documents = []
    for arguments in commands():
        done = edgedistill(*arguments, "--json", cwd=tmp_path)
        # A model this small may fail a check; nothing may be wrong with a command.
        assert done.returncode in (0, 3), f"{shlex.join(arguments)}: {done.stderr[-3000:]}"
        documents.append((arguments[0], json.loads(done.stdout)))
    first, second = (document for name, document in documents if name == "advise")
    # Before the run nothing tells of the control, and after it something does.
    assert first["verdict"] == "unclear"
    assert [f["severity"] for f in first["findings"] if f["subject"] == "teacher"] == ["unknown"]
    (gap,) = [finding for finding in second["findings"] if finding["subject"] == "teacher"]
    assert gap["severity"] != "unknown"
    (baseline,) = [document for name, document in documents if name == "baseline-teacher"]
    (run,) = [document for name, document in documents if name == "run"]
    rungs = {row["rung"]: row["score"]["val"]["value"] for row in run["ladder"]}
    assert baseline["teachers"][0]["score"]["value"] == pytest.approx(rungs["teacher"])
    assert gap["figures"]["teacher less control"] == pytest.approx(rungs["teacher"] - rungs["control"])
    assert Path(tmp_path / RUN / "baseline.json").exists()
