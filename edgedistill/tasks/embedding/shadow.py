"""How near a student's embedding of a text is to the teacher's, and how near two texts are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import JsonValue

from edgedistill.tasks.model_file import Loaded, ModelFile
from edgedistill.tasks.shadowed import CallShadow, NotComparable, Similarity, compared
from edgedistill.tasks.text.answering import TextInputs


def vector_of(row: Mapping[str, Any]) -> JsonValue:
    """The teacher's answer of a line of traces, `embedding`. Raises ValueError where it has none."""
    vector = row.get("embedding")
    if not isinstance(vector, list) or not vector or not all(type(each) in (int, float) and math.isfinite(each) for each in vector):
        raise ValueError("embedding: expected a list of numbers")
    return vector


def shadow(file: ModelFile, least: float, threads: int) -> CallShadow:
    """A student whose embedding agrees with the teacher's where their cosine is `least` or more."""
    loaded = Loaded(file, threads)
    inputs = TextInputs(file, loaded)

    def compare(outputs: Mapping[str, np.ndarray], answer: list[float]) -> dict[str, Any]:
        (ours,), theirs = outputs.values(), np.array(answer, np.float64)
        if ours.size != theirs.size:
            raise NotComparable(f"the teacher's embedding has {theirs.size} numbers, and the student's {ours.size}")
        near = cosine(ours, theirs)
        return compared(None if near >= least else "meaning", similarity=near)

    # Nobody can judge vectors.
    return CallShadow(loaded, lambda request: inputs(request["text"]), compare, people=False)


def similarity(file: ModelFile, threads: int) -> Similarity:
    """The cosine of the embeddings of two texts."""
    loaded = Loaded(file, threads)
    inputs = TextInputs(file, loaded)

    def embedded(text: str) -> np.ndarray:
        (embedding,) = loaded(inputs(text)).values()
        return embedding

    return lambda teacher, student: cosine(embedded(teacher), embedded(student))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of two vectors of any shape; 0 where one of them has no direction."""
    one, two = (values.reshape(-1).astype(np.float64) for values in (a, b))
    norms = math.sqrt(float(one @ one) * float(two @ two))
    return float(one @ two) / norms if norms else 0.0
