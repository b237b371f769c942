"""Measure what `data.buckets` saves: latency at each number of tokens, and its mean over the texts of benchmarks/data.

    python benchmarks/text/buckets.py FOLDER [--buckets 16 32 64] [--layers 4] [--width 256] [--rounds 200]

The encoder has random weights, which take the time of trained ones. Times are processor time of one thread: the files take turns.
"""

import argparse
import gzip
import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import edgedistill
from edgedistill.backends import backend
from edgedistill.records.manifest import Entry, Manifest
from edgedistill.tasks.text import tokenizing
from edgedistill.tasks.text.recipe import TrainedTokenizer

DATA = Path(__file__).parents[1] / "data/debian_sections.jsonl.gz"
TARGET = """name: buckets
description: Formats with fixed and with dynamic shapes.
minimum_os: any
artifacts:
  - {format: onnx, precision: fp32}
  - {format: onnx, precision: int8-dynamic}
  - {format: litert, precision: fp32}
  - {format: litert, precision: int8-dynamic}
"""
_EVERY = 20
"""One text in so many is a sample of the run; all of them count for the distribution of lengths."""
_AT_ONCE = 5


def encoder(folder: Path, texts: list[str], labels: list[str], given: argparse.Namespace) -> None:
    """Save an encoder with random weights, and a tokenizer that is trained on `texts`."""
    import transformers

    tokenizer = tokenizing.trained(TrainedTokenizer(vocabulary=8192), lambda: texts, max(given.buckets))
    config = transformers.BertConfig(
        vocab_size=tokenizing.vocabulary_of(tokenizer), hidden_size=given.width, num_hidden_layers=given.layers,
        num_attention_heads=given.width // 32, intermediate_size=4 * given.width, initializer_range=0.1,
        id2label=dict(enumerate(labels)), label2id={label: number for number, label in enumerate(labels)},
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save(str(folder / tokenizing.FILE))


def files(folder: Path, name: str, data: dict[str, Any]) -> tuple[Path, list[Entry]]:
    """The bundle of a run with `data`, and its files."""
    fields = {
        "name": name, "task": "text-classification", "threads": 1, "data": data, "student": {"hf": str(folder / "encoder")},
        "distill": None, "teacher": None, "quantize": {"after_training": "none"}, "targets": [str(folder / "target.yaml")],
    }  # fmt: skip
    summary = edgedistill.run(fields, folder / "runs")
    assert summary is not None
    bundle = Path(summary.bundles["buckets"])
    return bundle, Manifest.read(bundle / "manifest.json").artifacts


def program(bundle: Path, entry: Entry, tokens: int) -> Callable[[], object]:
    """A call of a file with a text that fills up `tokens`."""
    adapter = importlib.import_module(backend(entry.format).adapters[0].module)
    adapter.prepare(1)
    forward = adapter.load(str(bundle / entry.name), 1, entry.signature.model_dump(mode="json"))
    inputs = {spec.name: np.ones((1, tokens), np.int32) for spec in entry.signature.inputs}
    return lambda: forward(inputs)


def medians(programs: dict[tuple[str, str, int], Callable[[], object]], rounds: int) -> dict[tuple[str, str, int], float]:
    """The median of the processor time of a call, in ms."""
    taken: dict[tuple[str, str, int], list[float]] = {key: [] for key in programs}
    for number in range(rounds):
        for key, call in programs.items():
            begun = time.thread_time()
            for _ in range(_AT_ONCE):
                call()
            if number:
                taken[key].append((time.thread_time() - begun) / _AT_ONCE * 1e3)
    return {key: float(np.median(values)) for key, values in taken.items()}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--buckets", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts, labels = [row["text"] for row in rows], sorted({row["label"] for row in rows})
    given.folder.mkdir(parents=True, exist_ok=True)
    (given.folder / "target.yaml").write_text(TARGET)
    (given.folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[::_EVERY]))
    if not (given.folder / "encoder").exists():
        encoder(given.folder / "encoder", texts, labels, given)
    length = max(given.buckets)
    data = {"source": {"jsonl": str(given.folder / "texts.jsonl")}, "length": length, "classes": labels}
    programs = {}
    for name, more in (("one", {}), ("several", {"buckets": given.buckets})):
        bundle, entries = files(given.folder, name, data | more)
        for entry in entries:
            for tokens in [entry.sizes["tokens"]] if entry.sizes else given.buckets if more else [length]:
                programs[name, f"{entry.format} {entry.precision}", tokens] = program(bundle, entry, tokens)
    found = medians(programs, given.rounds)
    _, counts = tokenizing.encoded(tokenizing.found(str(given.folder / "encoder"), length), texts, length)
    bucket = np.array(given.buckets)[np.searchsorted(given.buckets, counts)]
    shares = {size: float((bucket == size).mean()) for size in given.buckets}
    table = {}
    for kind in dict.fromkeys(kind for _, kind, _ in programs):
        by_size = {size: found["several", kind, size] for size in given.buckets}
        mean, one = sum(shares[size] * by_size[size] for size in given.buckets), found["one", kind, length]
        table[kind] = {"one": one, "by_size": by_size, "mean": mean, "ratio": one / mean}
    print(json.dumps({"texts": len(texts), "median_tokens": int(np.median(counts)), "shares": shares, "ms": table}, indent=2))


if __name__ == "__main__":
    main()
