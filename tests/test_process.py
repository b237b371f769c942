"""The process of docs/process.md, from the baseline to the bundle: its commands, in their order, on a small version of its recipe."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import edgedistill

from edgedistill.tasks.causal_lm.example import exchange

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/process.md").read_text()
RECIPE, RUN = "recipes/llm/tool-calls.yaml", "runs/tool-calls"
TEACHER = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4}
STUDENT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}


def commands() -> list[list[str]]:
    """The command lines of the page, without the name of the program."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines() if line.startswith("edgedistill ")]


def small(folder: Path) -> None:
    """Write the recipe of the page into `folder`, made small, and what else its commands name."""
    fields = yaml.safe_load((ROOT / RECIPE).read_text())
    fields["data"]["source"]["rows"] = 400
    fields["data"] |= {"tokenizer": {"vocabulary": 320}, "length": 88, "split": {"val": 0.1, "holdout": 0.1}, "tried": 20, "batch_size": 16}
    fields["teacher"] = {"config": fields["teacher"]["config"] | TEACHER, "train": {"epochs": 3, "lr": 3.0e-3}}
    fields["student"]["config"] |= STUDENT
    fields["distill"]["stages"][0]["epochs"] = 1
    fields["measure"] = {"threads": 1, "warmup_s": 0.0, "max_s": 0.1, "min_samples": 20}
    path = folder / RECIPE
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(fields))
    shutil.copy(ROOT / "examples/cost/prices.yaml", folder)
    asked = [exchange(number) for number in range(60)]
    personal = {"prompt": "write to anna.schmidt@example.org at noon", "completion": '{"name": "ask", "arguments": {}}'}
    write(folder / "requests.jsonl", [personal, *({"prompt": prompt, "completion": answer} for prompt, answer in asked)])
    write(folder / "train.jsonl", [{"prompt": prompt, "completion": answer} for prompt, answer in asked[:40]])
    write(folder / "holdout.jsonl", [{"prompt": prompt, "completion": answer} for prompt, answer in asked[40:]])
    traces = [{"messages": [{"role": "user", "content": prompt}], "answer": answer} for prompt, answer in asked[:12]]
    write(folder / "traces.jsonl", traces)
    answers = [{"confidence": (number % 97) / 97, "decision": f"d{number % 3}"} for number in range(400)]
    write(folder / "launch-week.jsonl", answers[:200])
    write(folder / "this-week.jsonl", answers[200:])


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write `rows` as lines of JSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def known() -> set[str]:
    """The commands that there are."""
    from edgedistill.cli.app import app

    named = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback is not None}
    return named | {str(group.name) for group in app.registered_groups}


def test_the_table_of_the_page_has_a_row_for_each_step() -> None:
    rows = re.findall(r"^\| (\d+)\. [^|]*\| \[?`([a-z-]+)", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 12))
    assert {line[0] for line in commands()} | {"review", "route"} == {name for _, name in rows} | {"bundle", "cost"}


def test_every_command_of_the_page_exists() -> None:
    assert {line[0] for line in commands()} - known() == set()


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
    assert (tmp_path / RUN / "baseline.json").exists()
    assert all("anna.schmidt" not in path.read_text() for path in tmp_path.glob("scrubbed.jsonl"))
