"""Bundles of models of texts, made in a moment: a small network that averages the rows of a table, with its tokenizer and golden values."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from glue_texts import LENGTH, golden
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from edgedistill.records.manifest import MANIFEST, Manifest
from edgedistill.tasks.text.tokenizing import FILE, padding_of, unknown_of, vocabulary_of

LABELS = ["weather", "a 2nd one", "\u8a9e"]
DIMENSIONS = 6
GOLDEN = ("What is the weather?", "", "\u03a3\u0391\u03a3 e\u0301 \U00020000", "word " * 100)
_COMMON: dict[str, Any] = {
    "target": {"name": "made", "description": "A test.", "minimum_os": "any"},
    "model": {"name": "made", "state_sha256": "0" * 64, "output_scale": {}},
    "licenses": {"code": "Apache-2.0", "data": "none", "teacher": "none"},
    "versions": {},
}


class TextBundle:
    """A bundle in `folder` of the task text-classification or embedding. `write` makes its manifest agree with its files.

    table: float32 [vocabulary, columns]. A text's answer is the mean of the rows of its tokens. With `buckets` it is the sum over the
    number of tokens that the text is filled up to, by one file, or `each` bucket has its own.
    """

    def __init__(
        self, folder: Path, task: str, tokenizer: Tokenizer, given: tuple[str, ...] = GOLDEN, buckets: tuple[int, ...] = (), *,
        each: bool = False,
    ) -> None:  # fmt: skip
        self.folder, self.tokenizer, self.padding, self.buckets = folder, tokenizer, padding_of(tokenizer), buckets or (LENGTH,)
        self.unknown = unknown_of(tokenizer)
        classifies = task == "text-classification"
        self.output, columns = ("logits", len(LABELS)) if classifies else ("embedding", DIMENSIONS)
        self.table = np.random.default_rng(4).normal(0, 3, (vocabulary_of(tokenizer), columns)).astype(np.float32)
        folder.mkdir(parents=True)
        tokenizer.save(str(folder / FILE))
        filled = bool(buckets)
        whole = _network(self.table, self.output, "tokens" if filled else LENGTH, filled=filled)
        self._session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
        # The file of the largest bucket comes first, as in a bundle.
        sizes: list[int | str] = [*reversed(buckets)] if each else ["tokens" if buckets else LENGTH]
        signature: dict[str, Any] = {}
        self.entries, self._golden = list[dict[str, Any]](), dict[str, tuple[str, int]]()
        for size in sizes:
            suffix, length = (f"-tokens{size}", int(size)) if each else ("", LENGTH)
            file = f"student-fp32{suffix}.onnx"
            (folder / file).write_bytes(_network(self.table, self.output, size, filled=filled))
            held = [text for text in given if len(tokenizer.encode(text).ids) <= length]
            samples = [self.arrays(text, length) for text in held]
            for name in ("input_ids", "attention_mask"):
                self._save(f"golden/inputs{suffix}/{name}.npy", np.concatenate([sample[name] for sample in samples]))
            answers = [self._session.run([self.output], sample)[0][0] for sample in samples]
            self._save(f"golden/outputs/{file}/{self.output}.npy", np.stack(answers))
            inputs = [_spec("input_ids", "int32", size, "tokens"), _spec("attention_mask", "int32", size, "mask")]
            signature = {"inputs": inputs, "outputs": [_spec(self.output, "float32", columns, self.output)]}
            self._golden[suffix] = file, len(held)
            self.entries.append({
                "name": file, "format": "onnx", "precision": "fp32", "delegate": None, "bytes": 1, "input": "tensor",
                "signature": signature, "minimum_runtime": {"onnxruntime": "1.18"}, "minimum_os": {}, "operators": {},
                "executed_by": "own_runtime", "ok": True, "runtime": {}, "packages": {}, **({"sizes": {"tokens": size}} if each else {}),
            })  # fmt: skip
        self.entry, self.count = self.entries[0], len(given)
        text = {
            "kind": "text", "tokenizer": FILE, "length": LENGTH, "truncation": "at the end", "padding": self.padding,
            "padded": "at the end", **({"buckets": list(buckets)} if buckets else {}),
            **({} if self.unknown is None else {"unknown": self.unknown}),
        }  # fmt: skip
        mask = {"kind": "mask", "of": "input_ids", "text": 1, "padding": 0}
        scores = {"kind": "scores", "postprocessing": "softmax", "thresholds": None}
        embedding = {"kind": "embedding", "similarity": "cosine", "normalized": False}
        self.manifest: dict[str, Any] = {
            "schema": MANIFEST, "name": "made", "task": task, **_COMMON, "signature": {"methods": {"forward": signature}},
            "preprocessing": {
                "inputs": {"input_ids": text, "attention_mask": mask},
                "outputs": {self.output: scores if classifies else embedding},
            },
            "ship": {
                "order": [entry["name"] for entry in self.entries],
                "first": {"name": self.entry["name"], "reasons": ["It is the only one."]},
            },
            "artifacts": self.entries, "golden_texts": golden(tokenizer, list(given)), **({"labels": LABELS} if classifies else {}),
        }  # fmt: skip
        self.write()

    def features(self, text: str) -> dict[str, float]:
        """What is known of a text without the model."""
        tokens = self.tokenizer.encode(text).ids[:LENGTH]
        share = {} if self.unknown is None else {"unknown": tokens.count(self.unknown) / len(tokens)}
        return {"tokens": len(tokens), **share}

    def arrays(self, text: str, length: int | None = None) -> dict[str, np.ndarray]:
        """The tokens of `text` and their mask, int32 [1, length] each; by default that is the smallest bucket that holds it, or LENGTH."""
        tokens = self.tokenizer.encode(text).ids
        length = length or next(bucket for bucket in self.buckets if bucket >= len(tokens))
        row = np.full((1, length), self.padding, np.int32)
        row[0, : len(tokens)] = tokens
        return {"input_ids": row, "attention_mask": (np.arange(length) < len(tokens)).astype(np.int32)[None]}

    def answer(self, text: str) -> np.ndarray:
        """What the network gives for `text`, float32 [columns]."""
        answer: np.ndarray = self._session.run([self.output], self.arrays(text))[0][0]
        return answer

    def write(self) -> Path:
        """manifest.json, with the SHA-256 of what is in the folder; returns the folder."""
        paths = (path.relative_to(self.folder).as_posix() for path in sorted(self.folder.rglob("*")) if path.is_file())
        files = {path: hashlib.sha256((self.folder / path).read_bytes()).hexdigest() for path in paths if path != "manifest.json"}

        def file(path: str) -> dict[str, str]:
            return {"path": path, "sha256": files[path]}

        for entry in self.manifest["artifacts"]:
            suffix = f"-tokens{entry['sizes']['tokens']}" if "sizes" in entry else ""
            made, count = self._golden[suffix]
            golden = {
                "count": count,
                "inputs": {name: file(f"golden/inputs{suffix}/{name}.npy") for name in ("input_ids", "attention_mask")},
                "outputs": {self.output: file(f"golden/outputs/{made}/{self.output}.npy")},
                "tolerance": {self.output: 1e-4},
            }
            entry.update(golden=golden, sha256=files[entry["name"]])
        self.manifest["files"] = files
        (self.folder / "manifest.json").write_text(json.dumps(self.manifest, ensure_ascii=False), encoding="utf-8")
        return self.folder

    def record(self) -> Manifest:
        """The manifest as glue code is written from it."""
        return Manifest.model_validate(self.manifest)

    def _save(self, path: str, array: np.ndarray) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        np.save(self.folder / path, array)


def _spec(name: str, dtype: str, size: int | str, meaning: str) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": [1, size], "meaning": meaning, "layout": None, "range": None}


def _network(table: np.ndarray, output: str, size: int | str, *, filled: bool) -> bytes:
    """filled: what fills up a text counts as well, so that the answer shows how long the input was."""
    ones = [helper.make_node("Mul", ["mask", "zero"], ["nothing"]), helper.make_node("Add", ["nothing", "one"], ["all"])]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "first"], ["sum"], keepdims=0),
        *(ones if filled else []),
        helper.make_node("ReduceSum", ["all" if filled else "mask", "first"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], [output]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, [1, size]) for name in ("input_ids", "attention_mask")]
    given = {"table": table, "last": np.array([2]), "first": np.array([1])}
    given |= {"zero": np.float32([0]), "one": np.float32([1])} if filled else {}
    graph = helper.make_graph(
        nodes, "made", inputs, [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, table.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in given.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
