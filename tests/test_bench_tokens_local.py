"""Generation by `bench` on this machine, of a run and of a file, and the options of the command line."""

import json
from pathlib import Path

from conftest import edgedistill
from test_bench_tokens import CONTEXT, successor


def test_a_file_is_measured_with_the_usual_prompts(tmp_path: Path) -> None:
    done = edgedistill("bench", successor(tmp_path / "successor.onnx"), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [part["prompt_tokens"] for part in document["generation"]["by_prompt"]] == [32]
    assert (document["generation"]["context"], document["generation"]["new_tokens"]) == (CONTEXT, 32)


def test_the_options_reach_the_runner_on_a_device(tmp_path: Path) -> None:
    successor(tmp_path / "successor.onnx")
    command = ("bench", "successor.onnx", "--device", "local", "--preset", "quick", "--prompt-tokens", "3,20", "--new-tokens", "6")
    done = edgedistill(*command, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["measurements"]
    assert [part["prompt_tokens"] for part in one["generation"]["by_prompt"]] == [3, 20]
    assert one["generation"]["new_tokens"] == 6
    refused = edgedistill(*command[:-3], "63", "--new-tokens", "6", cwd=tmp_path)
    assert refused.returncode == 2
    assert "the file takes 64 tokens" in refused.stderr
