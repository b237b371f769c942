"""A small recipe of a language model, and what its tests share: no hub is reached."""

import json
from pathlib import Path
from typing import Any

import yaml

from edgedistill.recipe.loading import load_recipe
from edgedistill.recipe.schema import Recipe

TINY = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip


def fields(**more: Any) -> dict[str, Any]:
    """The fields of a recipe that teaches made tool calls; `more` replace some."""
    return {
        "name": "tiny",
        "task": "causal-lm",
        "threads": 1,
        "data": {
            "source": {"example": "tool-calls", "rows": 240},
            "format": "tool-call",
            "tokenizer": {"vocabulary": 320},
            "length": 88,
            "split": {"val": 0.1, "holdout": 0.1},
            "batch_size": 16,
            "tried": 6,
        },
        "teacher": {"config": TINY, "train": {"epochs": 1, "lr": 3.0e-3}},
        "student": {"config": {**TINY, "num_hidden_layers": 1}},
        "distill": {"control": False, "stages": [{"name": "finetune", "epochs": 1, "lr": 3.0e-3}]},
        "targets": ["llm-linux"],
        "measure": {"warmup_s": 0.0, "max_s": 0.1, "min_samples": 20},
        **more,
    }


def recipe(folder: Path, **more: Any) -> Recipe:
    """The recipe of `fields`, checked as the command line does."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(fields(**more)))
    return load_recipe(str(path)).recipe


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """`rows` as a file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
