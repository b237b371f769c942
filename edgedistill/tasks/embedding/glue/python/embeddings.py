"""Vectors that say what texts mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError


@dataclass(frozen=True, eq=False)
class Embedding:
    """The vector of a text.

    Attributes:
        values: float32 [dimensions].
    """

    values: np.ndarray

    def similarity(self, other: Embedding) -> float:
        """The cosine of two embeddings, from -1 to 1: texts that mean the same are close to 1. 0 where one of them has no direction.

        Raises:
            InputError: They have different sizes, so that they are not of the same model.
        """
        if self.values.shape != other.values.shape:
            raise InputError(f"found embeddings of {self.values.size} and {other.values.size} numbers, expected two of the same model")
        one, two = self.values.astype(np.float64), other.values.astype(np.float64)
        lengths = float(np.linalg.norm(one) * np.linalg.norm(two))
        return float(np.clip(one @ two / lengths, -1, 1)) if lengths else 0.0
