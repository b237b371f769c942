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
from edgedistill.tasks.text.tokenizing import FILE, padding_of, vocabulary_of

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

    table: float32 [vocabulary, columns]. A text's answer is the mean of the rows of its tokens.
    """

    def __init__(self, folder: Path, task: str, tokenizer: Tokenizer, given: tuple[str, ...] = GOLDEN) -> None:
        self.folder, self.tokenizer, self.padding = folder, tokenizer, padding_of(tokenizer)
        classifies = task == "text-classification"
        self.output, columns = ("logits", len(LABELS)) if classifies else ("embedding", DIMENSIONS)
        self.table = np.random.default_rng(4).normal(0, 3, (vocabulary_of(tokenizer), columns)).astype(np.float32)
        folder.mkdir(parents=True)
        tokenizer.save(str(folder / FILE))
        (folder / "student-fp32.onnx").write_bytes(_network(self.table, self.output))
        self._session = onnxruntime.InferenceSession(folder / "student-fp32.onnx", providers=["CPUExecutionProvider"])
        samples = [self.arrays(text) for text in given]
        self._save("golden/inputs/input_ids.npy", np.concatenate([sample["input_ids"] for sample in samples]))
        self._save("golden/inputs/attention_mask.npy", np.concatenate([sample["attention_mask"] for sample in samples]))
        self._save(f"golden/outputs/student-fp32.onnx/{self.output}.npy", np.stack([self.answer(text) for text in given]))
        inputs = [_spec("input_ids", "int32", LENGTH, "tokens"), _spec("attention_mask", "int32", LENGTH, "mask")]
        signature = {"inputs": inputs, "outputs": [_spec(self.output, "float32", columns, self.output)]}
        text = {
            "kind": "text", "tokenizer": FILE, "length": LENGTH, "truncation": "at the end", "padding": self.padding,
            "padded": "at the end",
        }  # fmt: skip
        mask = {"kind": "mask", "of": "input_ids", "text": 1, "padding": 0}
        scores = {"kind": "scores", "postprocessing": "softmax", "thresholds": None}
        embedding = {"kind": "embedding", "similarity": "cosine", "normalized": False}
        self.entry: dict[str, Any] = {
            "name": "student-fp32.onnx", "format": "onnx", "precision": "fp32", "delegate": None, "bytes": 1, "input": "tensor",
            "signature": signature, "minimum_runtime": {"onnxruntime": "1.18"}, "minimum_os": {}, "operators": {},
            "executed_by": "own_runtime", "ok": True, "runtime": {}, "packages": {},
        }  # fmt: skip
        self.count = len(given)
        self.manifest: dict[str, Any] = {
            "schema": MANIFEST, "name": "made", "task": task, **_COMMON, "signature": {"methods": {"forward": signature}},
            "preprocessing": {
                "inputs": {"input_ids": text, "attention_mask": mask},
                "outputs": {self.output: scores if classifies else embedding},
            },
            "ship": {"order": ["student-fp32.onnx"], "first": {"name": "student-fp32.onnx", "reasons": ["It is the only one."]}},
            "artifacts": [self.entry], "golden_texts": golden(tokenizer, list(given)), **({"labels": LABELS} if classifies else {}),
        }  # fmt: skip
        self.write()

    def arrays(self, text: str) -> dict[str, np.ndarray]:
        """The tokens of `text` and their mask, int32 [1, LENGTH] each."""
        tokens = self.tokenizer.encode(text).ids
        row = np.full((1, LENGTH), self.padding, np.int32)
        row[0, : len(tokens)] = tokens
        return {"input_ids": row, "attention_mask": (np.arange(LENGTH) < len(tokens)).astype(np.int32)[None]}

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

        golden = {
            "count": self.count,
            "inputs": {name: file(f"golden/inputs/{name}.npy") for name in ("input_ids", "attention_mask")},
            "outputs": {self.output: file(f"golden/outputs/student-fp32.onnx/{self.output}.npy")},
            "tolerance": {self.output: 1e-4},
        }
        for entry in self.manifest["artifacts"]:
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


def _spec(name: str, dtype: str, size: int, meaning: str) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": [1, size], "meaning": meaning, "layout": None, "range": None}


def _network(table: np.ndarray, output: str) -> bytes:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "first"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "first"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], [output]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, [1, LENGTH]) for name in ("input_ids", "attention_mask")]
    given = {"table": table, "last": np.array([2]), "first": np.array([1])}
    graph = helper.make_graph(
        nodes, "made", inputs, [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, table.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in given.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
