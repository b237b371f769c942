"""What a large vocabulary costs a run: the outputs that it keeps, and the peak memory of its processes.

    python benchmarks/text/large_vocabulary.py prepare FOLDER [--rows 8]
    python benchmarks/text/large_vocabulary.py run FOLDER

A llama of 2 layers x 128 with a vocabulary of 32,000 and random weights becomes .onnx and .pte files in fp32, which answer rows of val: 512
positions, prompts of about 380 tokens and answers of about 100.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from gguf_models import texts

VOCABULARY, LENGTH, PROMPT, ANSWER = 32_000, 512, 380, 100
TARGET = {
    "name": "two", "description": "Both ways to hold a cache.", "minimum_os": "none",
    "artifacts": [{"format": "executorch", "precision": "fp32"}, {"format": "onnx", "precision": "fp32"}],
}  # fmt: skip


def prepare(folder: Path, rows: int) -> None:
    """Write the model with its tokenizer, the rows, the target and the recipe into `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from edgedistill.tasks.causal_lm.chat import trained
    from edgedistill.tasks.causal_lm.recipe import TrainedBytes

    lines = texts()
    made = trained(TrainedBytes(vocabulary=VOCABULARY), lines)
    tokenizer: Any = made.tokenizer
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=made.vocabulary, hidden_size=128, intermediate_size=384, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=LENGTH, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    made.save(folder / "model")
    stream = tokenizer("\n".join(lines[:4000]))["input_ids"]
    with open(folder / "rows.jsonl", "w", encoding="utf-8") as file:
        for row in range(rows + 4):
            part = stream[row * (PROMPT + ANSWER) :]
            said = [tokenizer.decode(part[:PROMPT]), tokenizer.decode(part[PROMPT : PROMPT + ANSWER])]
            file.write(json.dumps({"prompt": said[0], "completion": said[1], "split": "val" if row < rows else "train"}) + "\n")
    (folder / "two.yaml").write_text(yaml.safe_dump(TARGET))
    recipe = {
        "name": "large", "task": "causal-lm", "threads": 1,
        "data": {"source": {"jsonl": "rows.jsonl"}, "format": "text", "length": LENGTH, "split_column": "split", "tried": 0},
        "teacher": None, "student": {"hf": str(folder / "model")}, "distill": None, "targets": ["two.yaml"],
    }  # fmt: skip
    (folder / "large.yaml").write_text(yaml.safe_dump(recipe))
    print(f"{made.vocabulary:,} tokens, {rows} rows of val")


def run(folder: Path) -> None:
    """Run the recipe, and print the figures."""
    command = [sys.executable, "-m", "edgedistill", "run", "large.yaml", "--json"]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    kept = [path.stat().st_size for path in folder.glob("runs/large/work/**/logits.npy")]
    print(f"exit status {done.returncode}", done.stderr[-500:] if done.returncode else "")
    print(f"{len(kept)} arrays of logits, {sum(kept) / 1e6:,.0f} MB; largest peak of a process {peak:,.0f} MiB")
    for artifact in json.loads(done.stdout)["artifacts"]:
        print(artifact["name"], artifact["ok"], artifact["parity"])


def main() -> None:
    """Do what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=8, help="rows of val")
    given = parser.parse_args()
    folder = given.folder.resolve()
    if given.what == "run":
        run(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, given.rows)


if __name__ == "__main__":
    main()
