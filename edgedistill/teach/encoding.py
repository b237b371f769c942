"""How a signal lies in the cache: in float16 or float32, or the k largest probabilities with the mass of the rest."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgedistill.errors import UserError
from edgedistill.recipe.stages import Cache

_MIN_LOG_P = -30.0
"""Log of the smallest mass that is told apart from none; e^-30 is 1e-13."""


class Encoding(Protocol):
    """Turns signals float32 [B, ...] into rows of `dtype` and back; `tag` is in the file's name."""

    @property
    def dtype(self) -> np.dtype:
        """A row."""

    @property
    def tag(self) -> str:
        """What tells it from other encodings."""

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Rows [B] of `dtype`."""

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Signals float32 [B, ...]."""


def encoding_of(shape: list[int], options: Cache, *, scores: bool) -> Encoding:
    """The encoding of a signal of `shape` (without the batch) that the recipe asks for. scores: it is an output, so that top_k is of it."""
    if scores and len(shape) == 1 and options.top_k is not None and options.top_k < shape[0]:
        return TopK(options.top_k, shape[0])
    return Plain(options.dtype, tuple(shape))


@dataclass(frozen=True)
class Plain:
    """Every number, in float16 or float32."""

    kind: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """A row."""
        return np.dtype((self.kind, self.shape))

    @property
    def tag(self) -> str:
        """The type's name."""
        return self.kind

    def encode(self, values: np.ndarray) -> np.ndarray:
        """The numbers in their type; UserError where one is too large for it."""
        largest = float(np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max())
        if largest > np.finfo(self.kind).max:
            raise UserError(f"a teacher's signal is {largest:g}, more than {self.kind} can hold; set distill.cache.dtype: float32")
        return values.astype(self.kind)

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """The numbers in float32."""
        return rows.astype(np.float32)


@dataclass(frozen=True)
class TopK:
    """The k largest log-probabilities with their classes, and the log of the mass that is left, shared by the other classes alike."""

    k: int
    size: int

    @property
    def dtype(self) -> np.dtype:
        """A row: k classes, and k + 1 logarithms of which the last is that of the rest."""
        return np.dtype([("index", "u2" if self.size <= 2**16 else "u4", (self.k,)), ("log_p", "f2", (self.k + 1,))])

    @property
    def tag(self) -> str:
        """How many are kept."""
        return f"top{self.k}"

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Rows of logits [B, C]."""
        from scipy import special

        log_p = special.log_softmax(values.astype(np.float64), axis=1)
        order = np.argpartition(-log_p, self.k, axis=1)
        kept, rest = order[:, : self.k], order[:, self.k :]
        rows = np.zeros(len(values), self.dtype)
        rows["index"] = kept
        rows["log_p"][:, : self.k] = np.maximum(np.take_along_axis(log_p, kept, 1), _MIN_LOG_P)
        rows["log_p"][:, self.k] = np.maximum(special.logsumexp(np.take_along_axis(log_p, rest, 1), axis=1), _MIN_LOG_P)
        return rows

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Log-probabilities float32 [B, C], which are logits."""
        shared = rows["log_p"][:, self.k].astype(np.float32) - np.float32(np.log(self.size - self.k))
        log_p = np.repeat(shared[:, None], self.size, axis=1)
        np.put_along_axis(log_p, rows["index"].astype(np.int64), rows["log_p"][:, : self.k].astype(np.float32), 1)
        return log_p
