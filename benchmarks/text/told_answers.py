"""Whether a student learns more where its endpoint tells log-probabilities: tool calls, written by a server of llama.cpp.

pip install 'llama-cpp-python[server]==0.3.36' gguf
python benchmarks/text/told_answers.py FOLDER [--rows 3000] [--seeds 2]

The teacher is that of recipes/llm/tool-calls.yaml, written as GGUF and served on loopback. Every way sees the same prompts and greedy
answers of it, starts from the same weights and takes as many steps. Printed are the shares of val's answers that greedy decoding gives
whole, with 95% intervals, the perplexity of val, and the share of the answers' tokens that the server told of.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from gguf_writer import write_gguf

import edgedistill
from edgedistill.errors import DeviceFailed

ROOT = Path(__file__).parents[2]
WAYS: dict[str, dict[str, Any]] = {
    "texts alone": {"ce": {}},
    "texts and log-probabilities": {"ce": {"weight": 0.5}, "top_logprobs": {"weight": 0.5}},
}


def recipe(rows: int, seed: int) -> dict[str, Any]:
    """The recipe of tool calls for `rows` rows."""
    fields = yaml.safe_load((ROOT / "recipes/llm/tool-calls.yaml").read_text())
    fields |= {"seed": seed, "threads": 1}
    fields["data"] |= {"source": {"example": "tool-calls", "rows": rows}, "split": {"val": 0.2, "holdout": 0.0}, "tried": 0}
    fields["distill"]["control"] = False
    return fields


def served(rows: int, folder: Path) -> Path:
    """The GGUF file of a trained teacher; its tokenizer is in the folder `tokenizer` beside it."""
    from edgedistill.distill.stages import trained
    from edgedistill.recipe import load_recipe
    from edgedistill.tasks import task
    from edgedistill.tasks.causal_lm import chat

    path, fields = folder / "teacher.gguf", recipe(rows, 0) | {"name": "teacher"}
    fields["teacher"]["train"]["epochs"] = 6
    (folder / "teacher.yaml").write_text(yaml.safe_dump(fields))
    if not path.exists():
        edgedistill.distill(folder / "teacher.yaml", folder)
        loaded = load_recipe(folder / "teacher.yaml").recipe
        work = folder / "teacher" / "work"
        causal_lm = task("causal-lm")
        facts = causal_lm.dataset(loaded, work / "data").facts
        decoder: Any = causal_lm.build(loaded.teacher, loaded, facts, trained(work / "teacher"))
        tokenizer = chat.found(str(work / "data" / chat.FOLDER)).tokenizer
        tokenizer.save_pretrained(str(folder / "tokenizer"))
        write_gguf(decoder.model, tokenizer, path)
    return path


@contextmanager
def server(model: Path) -> Iterator[str]:
    """A server of llama.cpp that answers by `model`, until the block ends; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--n_ctx", "128", "--n_threads", "1", "--n_threads_batch", "1", "--logits_all", "true"]
    with open(model.with_suffix(".log"), "w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            url = f"http://127.0.0.1:{port}/v1"
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{url}/models", timeout=5).close()
                    break
                except (urllib.error.URLError, TimeoutError):
                    time.sleep(0.5)
            else:
                raise DeviceFailed(f"the server did not start; see {model.with_suffix('.log')}")
            yield url
        finally:
            process.kill()


def measured(losses: dict[str, Any], url: str, folder: Path, rows: int, seed: int) -> dict[str, Any]:
    """Right answers, of how many, the perplexity, and the share of tokens that were told of."""
    fields = recipe(rows, seed) | {"name": f"told-{seed}"}
    fields["data"]["tokenizer"] = str(folder / "tokenizer")
    fields["teacher"] = {
        "endpoint": {"base_url": url, "model": "teacher", "top_logprobs": 5, "concurrency": 1},
        "answers": {"sampling": {"temperature": 0.0, "max_tokens": 48}, "keep_data": False},
    }
    fields["distill"]["stages"] = [{"name": "finetune", "epochs": 4, "lr": 4.0e-3, "losses": losses}]
    summary = edgedistill.distill(fields, folder)
    assert summary is not None
    rung = next(rung for rung in summary.ladder if rung.rung == "student")
    n = rung.score.val.n  # type: ignore[union-attr]
    facts = json.loads((folder / f"told-{seed}" / "work" / "answers" / "facts.json").read_text())
    return {"right": round(rung.further["exact match"] * n), "n": n, "perplexity": rung.further["perplexity"], "told": facts["told"]}


def main() -> None:
    """Train both ways with every seed, and print a table."""
    from edgedistill.tasks.intervals import wilson

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    lines = list[str]()
    with server(served(asked.rows, asked.folder)) as url:
        for name, losses in WAYS.items():
            found = [measured(losses, url, asked.folder, asked.rows, seed) for seed in range(asked.seeds)]
            right, n = (sum(one[key] for one in found) for key in ("right", "n"))
            low, high = wilson(right, n)
            perplexity = ", ".join(f"{one['perplexity']:.4f}" for one in found)
            lines.append(f"| {name} | {right / n:.1%} ({low:.1%} to {high:.1%}) | {perplexity} | {found[0]['told']:.1%} |")
    print("| learned | exact match | perplexity, by seed | tokens told |\n| --- | --- | --- | --- |", *lines, sep="\n")


if __name__ == "__main__":
    main()
