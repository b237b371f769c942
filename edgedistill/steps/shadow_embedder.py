"""Compares texts in meaning by the exported embedder of a bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.errors import UserError

_TASK = "embedding"


def told(folder: Path) -> dict[str, Any]:
    """What the child process needs of the bundle in `folder`: of the file to ship. Raises UserError where it is of another task."""
    from edgedistill.bundle.check import read_manifest
    from edgedistill.bundle.opened import opened
    from edgedistill.measure.adapters import executor_of
    from edgedistill.records import ArtifactSpec
    from edgedistill.records.manifest import MANIFEST_FILE

    if not (folder / MANIFEST_FILE).is_file():
        raise UserError(f"found no bundle at {folder}, expected the folder of a bundle of the task {_TASK}")
    with opened(folder) as bundle:
        manifest = read_manifest(bundle)
        if manifest.task != _TASK:
            raise UserError(f"{folder} is a bundle of the task {manifest.task}, expected {_TASK}")
        if not manifest.ship.order:
            raise UserError(f"{folder} ships no file, expected a bundle with one")
        entries = {entry.name: entry for entry in manifest.artifacts}
        entry = entries[manifest.ship.order[0]]
        inputs: Any = manifest.preprocessing.inputs
        tokens, mask = (next(name for name, facts in inputs.items() if facts["kind"] == kind) for kind in ("text", "mask"))
        facts = inputs[tokens]
        for name in (entry.name, facts["tokenizer"]):
            if bundle.sha256(name) != manifest.files.get(name):
                raise UserError(f"{name} of {folder} was changed or damaged; get the bundle again")
        length = next(spec.shape[1] for spec in entry.signature.inputs if spec.name == tokens)
        sizes = [length] if isinstance(length, int) else facts.get("buckets", [facts["length"]])
        adapter = executor_of(ArtifactSpec(entry.format, entry.precision, delegate=entry.delegate, input=entry.input))
        return {
            "path": str(folder / entry.name), "sha256": manifest.files[entry.name], "adapter": adapter.module,
            "signature": entry.signature.model_dump(mode="json"), "tokens": tokens, "mask": mask, "padding": facts["padding"],
            "tokenizer": str(folder / facts["tokenizer"]), "sizes": sizes,
        }  # fmt: skip


class Embedder:
    """The cosine of the embeddings of two texts. told: see the function of this name. A text that is too long is cut."""

    def __init__(self, told: Mapping[str, Any], threads: int) -> None:
        from tokenizers import Tokenizer

        self._told = told
        self._tokenizer: Any = Tokenizer.from_file(told["tokenizer"])
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max(told["sizes"]))
        adapter = import_module(told["adapter"])
        adapter.prepare(threads)
        self._forward = adapter.load(told["path"], threads, told["signature"])

    def __call__(self, teacher: str, student: str) -> float:
        """The cosine of two answers; 0 where one of them has no direction."""
        a, b = self._embedded(teacher), self._embedded(student)
        norms = math.sqrt(float(a @ a) * float(b @ b))
        return float(a @ b) / norms if norms else 0.0

    def _embedded(self, text: str) -> np.ndarray:
        """float64 [dimensions]."""
        told, tokens = self._told, self._tokenizer.encode(text).ids
        size = next(size for size in told["sizes"] if size >= len(tokens))
        row = np.full((1, size), told["padding"], np.int32)
        row[0, : len(tokens)] = tokens
        mask = (np.arange(size) < len(tokens)).astype(np.int32)[None]
        (embedding,) = self._forward({told["tokens"]: row, told["mask"]: mask}).values()
        return np.asarray(embedding, np.float64).reshape(-1)
