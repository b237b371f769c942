"""How a signal lies in the cache: every number, the k largest probabilities with the mass of the rest, or classes that were drawn."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgedistill.errors import UserError
from edgedistill.recipe.stages import Cache

_MIN_LOG_P = -30.0
"""Log of the smallest mass that is told apart from none; e^-30 is 1e-13."""
_NEVER = -1e5
"""Log-probability of a class that was not drawn. Losses turn it into a probability of exactly 0, also divided by a temperature of up to
100, and their products with it stay finite, as those with -inf would not."""
_AT_ONCE = 2**22
"""Most numbers that are encoded at once: what that needs stays small beside the answers of a large vocabulary."""


class Encoding(Protocol):
    """Turns signals float32 [B, ...] into rows of `dtype` and back; `tag` is in the file's name."""

    @property
    def dtype(self) -> np.dtype:
        """A row."""

    @property
    def tag(self) -> str:
        """What tells it from other encodings."""

    def encode(self, values: np.ndarray, samples: np.ndarray, view: int) -> np.ndarray:
        """Rows [B] of `dtype`. samples int [B] and view: which they are of; chance is a function of them."""

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Signals float32 [B, ...]."""


def encoding_of(shape: list[int], options: Cache, *, scores: bool, seed: int) -> Encoding:
    """The encoding of a signal of `shape` (without the batch) that the recipe asks for.

    scores: its last axis has logits, so that top_k and sampled are of it, at each of the places before. seed: of what is drawn.
    """
    if scores and shape:
        *places, size = shape
        if options.top_k is not None and options.top_k < size:
            return TopK(options.top_k, size, tuple(places))
        if options.sampled is not None and options.sampled < size:
            return Sampled(options.sampled, size, seed, tuple(places))
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

    def encode(self, values: np.ndarray, samples: np.ndarray, view: int) -> np.ndarray:
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
    """The k largest log-probabilities with their classes, and the log of the mass that is left, shared by the other classes alike.

    places: the dimensions before the classes, such as the positions of a text.
    """

    k: int
    size: int
    places: tuple[int, ...] = ()

    @property
    def dtype(self) -> np.dtype:
        """A row: at each place k classes, and k + 1 logarithms of which the last is that of the rest."""
        return np.dtype(([("index", _whole(self.size), (self.k,)), ("log_p", "f2", (self.k + 1,))], self.places))

    @property
    def tag(self) -> str:
        """How many are kept."""
        return f"top{self.k}"

    def encode(self, values: np.ndarray, samples: np.ndarray, view: int) -> np.ndarray:
        """Rows of logits [B, ..., C]."""
        rows = np.zeros(values.shape[:-1], self.dtype.base)
        logits, flat = values.reshape(-1, self.size), rows.reshape(-1)
        for part in _parts(len(logits), self.size):
            shifted = logits[part] - logits[part].max(axis=1, keepdims=True)
            kept = np.argpartition(shifted, -self.k, axis=1)[:, -self.k :]
            p = np.exp(shifted)
            total = p.sum(axis=1, keepdims=True, dtype=np.float64)
            # The rest is summed, and not 1 less what is kept, which would lose all digits of a small one.
            np.put_along_axis(p, kept, 0, axis=1)
            rest = p.sum(axis=1, dtype=np.float64) / total[:, 0]
            flat["index"][part] = kept
            flat["log_p"][part, : self.k] = np.maximum(np.take_along_axis(shifted, kept, 1) - np.log(total), _MIN_LOG_P)
            flat["log_p"][part, self.k] = np.log(np.maximum(rest, np.exp(_MIN_LOG_P)))
        return rows

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Log-probabilities float32 [B, ..., C], which are logits."""
        shared = rows["log_p"][..., self.k].astype(np.float32) - np.float32(np.log(self.size - self.k))
        log_p = np.repeat(shared[..., None], self.size, axis=-1)
        np.put_along_axis(log_p, rows["index"].astype(np.int64), rows["log_p"][..., : self.k].astype(np.float32), -1)
        return log_p


@dataclass(frozen=True)
class Sampled:
    """Classes that are drawn by their probabilities, `count` at each place: a class that is drawn m times has the probability m / count.

    Anshumann et al. 2025 (arXiv 2503.16870), with the teacher's own distribution as the proposal, so that all weights are equal. A class
    is drawn count * p times on average. So the gradient of a loss that is linear in p, such as forward KL at temperature 1, is right on
    average, whereas `TopK` flattens what it leaves out. Draws are stratified, one from each of `count` equal parts of the
    distribution: they are right on average as independent ones are, and vary less.

    seed: what is drawn is a function of it, of the sample and of the view. places: the dimensions before the classes.
    """

    count: int
    size: int
    seed: int
    places: tuple[int, ...] = ()

    @property
    def dtype(self) -> np.dtype:
        """A row: at each place the classes in ascending order, one as often as it was drawn."""
        return np.dtype((_whole(self.size), (*self.places, self.count)))

    @property
    def tag(self) -> str:
        """How many are drawn, by which seed."""
        return f"sampled{self.count}-seed{self.seed}"

    def encode(self, values: np.ndarray, samples: np.ndarray, view: int) -> np.ndarray:
        """Rows of logits [B, ..., C] of the samples int [B]."""
        shape = (*self.places, self.count)
        uniform = np.stack([np.random.default_rng([self.seed, view, int(sample)]).random(shape) for sample in samples])
        # One point in each of `count` equal parts of 0..1, in ascending order.
        points = ((np.arange(self.count) + uniform) / self.count).reshape(-1, self.count)
        logits, drawn = values.reshape(-1, self.size), np.empty((len(points), self.count), self.dtype.base)
        for part in _parts(len(logits), self.size):
            drawn[part] = _classes_at(points[part], logits[part])
        return drawn.reshape(len(values), *shape)

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Log-probabilities float32 [B, ..., C], which are logits: log(m / count), or -1e5 for a class that was not drawn."""
        log_p = np.full((*rows.shape[:-1], self.size), _NEVER, np.float32)
        drawn = rows.reshape(-1, self.count)
        # Places in `log_p` as a whole; those of a class stand together.
        at = (drawn.astype(np.int64) + np.arange(len(drawn))[:, None] * self.size).reshape(-1)
        first = np.flatnonzero(np.diff(at, prepend=-1))
        times = np.diff(first, append=len(at))
        log_p.reshape(-1)[at[first]] = np.log(times / self.count)
        return log_p


def _classes_at(points: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The class at each of the `points` [n, N] in 0..1 of the cumulated probabilities of `logits` [n, C], int64 [n, N]."""
    # One line of all rows, each of which is as long as its probabilities before they are divided by their sum.
    edges = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), dtype=np.float64)
    ends = edges[logits.shape[1] - 1 :: logits.shape[1], None]
    starts = np.concatenate([np.zeros((1, 1)), ends[:-1]])
    # Rounding must not lead to the next row, or behind the last class that is possible.
    places = np.minimum(starts + points * (ends - starts), np.nextafter(ends, 0))
    return (
        np.searchsorted(edges, places.reshape(-1), side="right").reshape(places.shape) - np.arange(len(logits))[:, None] * logits.shape[1]
    )


def _parts(rows: int, size: int) -> Iterator[slice]:
    """Slices of `rows` rows of `size` numbers each."""
    step = max(1, _AT_ONCE // size)
    return (slice(start, start + step) for start in range(0, rows, step))


def _whole(size: int) -> str:
    """The type of a class's number among `size`."""
    return "u2" if size <= 2**16 else "u4"
