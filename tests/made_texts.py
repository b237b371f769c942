"""Texts with labels and small encoders of Hugging Face, made here: no hub is reached."""

import json
from pathlib import Path

import numpy as np

WORDS = {
    "fruit": ["apple", "pear", "plum", "cherry", "grape"],
    "tool": ["hammer", "saw", "drill", "wrench", "file"],
    "animal": ["horse", "cat", "mouse", "goose", "trout"],
}
COMMON = ["the", "a", "red", "old", "new", "small", "large", "with", "and", "very"]


def texts(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Rows of a text and its label: a word of the label among common ones."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = list(WORDS)[number % len(WORDS)]
        words = [*rng.choice(COMMON, rng.integers(1, 7)), rng.choice(WORDS[label])]
        rng.shuffle(words)
        rows.append({"text": " ".join(words), "label": label})
    return rows


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    """`rows` as a file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def save_encoder(folder: Path, kind: str = "bert", layers: int = 4, **more: int) -> Path:
    """A folder of transformers with a small encoder of random weights, and a tokenizer that knows the words above."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModel

    from edgedistill.tasks.text import tokenizing
    from edgedistill.tasks.text.recipe import TrainedTokenizer

    tokenizer = tokenizing.trained(TrainedTokenizer(vocabulary=256), lambda: (row["text"] for row in texts(300)), 512)
    names = {"distilbert": {"dim": 32, "n_layers": layers, "n_heads": 2, "hidden_dim": 48}}
    usual = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 48, "initializer_range": 0.1}
    torch.manual_seed(1)
    config = CONFIG_MAPPING[kind](
        vocab_size=tokenizing.vocabulary_of(tokenizer), pad_token_id=tokenizing.padding_of(tokenizer), max_position_embeddings=64,
        **{**names.get(kind, usual), **more},
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / tokenizing.FILE))
    return folder
