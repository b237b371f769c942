"""Finds texts that stand in another set of texts as well: the same, or nearly the same.

The set that is kept is indexed by MinHash; texts of the other one are looked up a part at a time, so that memory grows with the kept set
alone. A. Broder, "On the resemblance and containment of documents", 1997; J. Leskovec et al., "Mining of Massive Datasets", chapter 3.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgedistill.teach.leakage.found import NEAR, NOTHING, PART, SAME, Found

RESEMBLANCE = 0.75
"""Nearly the same texts have so many of their words in common, as a share of those that either has; docs/leakage.md has the curve."""
_SHARED = 0.5
"""So many of their shingles too, since words do not tell their order."""
_EXCHANGED = 0.05
"""At most so many of their words, as a share, are exchanged for others: in a short text `milk` for `bread` makes another sample."""
_CONTAINED, _LEAST_CONTAINED = 0.95, 40
"""So many shingles of a text that is part of another are in it; one with fewer shingles is a part of another by chance."""
_LEAST_SPELLED, _SLIPS = 4, 3
"""Letters of a word whose misspellings are the same word, and exchanged words that may be such."""
_SHINGLE = 4
"""Characters of a shingle."""
_BANDS, _ROWS = 24, 4
"""Texts that share 0.7 of their shingles share one of the bands with a probability of 0.999, and those that share 0.5 with 0.79."""
_MAX_BUCKET = 64
"""A text is compared with so many of the kept texts that share a band with it."""
_PAIRS = 2**14
"""Pairs of texts that are in memory at once."""
_SEED = 20260

_INSIDE_NUMBER = re.compile(r"(?<=\d)[^\w\s](?=\d)")
_NO_WORD = re.compile(r"[\W_]+")
_ALONE = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff])")
"""Letters of writings that put no blanks between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


def normal(text: str) -> str:
    """The same for texts that differ in case, blanks, punctuation, and in how Unicode writes a letter or a digit.

    A number is one word, whatever is between its digits: `1,000` is 1000 and `07:30` is 0730. It keeps its value.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    if not folded.isascii():
        folded = "".join(str(unicodedata.digit(letter)) if letter.isdigit() else letter for letter in folded)
    words = _NO_WORD.sub(" ", _INSIDE_NUMBER.sub("", folded)).strip()
    # A text of signs alone, such as emoji, is what it is.
    return words or " ".join(folded.split())


@dataclass(frozen=True)
class _Sets:
    """Sets of numbers of n texts: those of text i are `values[ends[i - 1] : ends[i]]`, rising."""

    values: np.ndarray
    ends: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """How many each text has, int64 [n]."""
        return np.diff(self.ends, prepend=0)

    def of(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values of the texts [m], one after the other, and for each value the place of its text in `texts`."""
        sizes = self.sizes[texts]
        places = np.repeat(np.arange(len(texts)), sizes)
        within = np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.values[(self.ends[texts] - self.sizes[texts])[places] + within], places


def _sets(rows: np.ndarray, values: np.ndarray, count: int) -> _Sets:
    """The sets of `count` texts, of values uint32 [m] and the text of each."""
    keys = np.unique(rows.astype(np.uint64) << np.uint64(32) | values)
    sizes = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=count)
    return _Sets(keys.astype(np.uint32), np.cumsum(sizes))


def shingles(texts: Sequence[str]) -> _Sets:
    """The hashes of all pieces of 4 characters of each normal text, with a blank in front and behind; a short text is one piece."""
    padded = [f" {text} ".ljust(_SHINGLE) for text in texts]
    letters = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
    sizes = np.array([len(text) for text in padded])
    starts, counts = np.cumsum(sizes) - sizes, sizes - _SHINGLE + 1
    rows = np.repeat(np.arange(len(texts)), counts)
    first = starts[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    hashes = np.zeros(len(rows), np.uint64)
    for place in range(_SHINGLE):
        hashes = _mixed(hashes * np.uint64(0x9E3779B97F4A7C15) + letters[first + place])
    return _sets(rows, (hashes >> np.uint64(32)), len(texts))


def _words(text: str) -> list[str]:
    """The words of a normal text; writings without blanks have words of one letter."""
    return text.split() if text.isascii() else _ALONE.sub(r" \1 ", text).split()


def _word_sets(texts: Iterable[str]) -> _Sets:
    values, rows, count = array("I"), array("Q"), 0
    for text in texts:
        for word in _words(text):
            values.append(zlib.crc32(word.encode("utf-8", "surrogatepass")))
            rows.append(count)
        count += 1
    return _sets(np.array(rows, np.uint64), np.array(values, np.uint64), count)


def _is_slip(a: str, b: str) -> bool:
    """Whether what two normal texts do not have in common is the same but for one letter or blank, and no number."""
    ours, theirs = _words(a), _words(b)
    one, other = ("".join(word for word in words if word not in others) for words, others in ((ours, theirs), (theirs, ours)))
    if max(len(one), len(other)) < _LEAST_SPELLED or not (one + other).isalpha():
        return False
    return one == other or bool(_spellings(one) & _spellings(other))


def _spellings(word: str) -> set[str]:
    """A word, and what is left of it without one of its letters: words that differ in one letter share one of them."""
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}


def _mixed(values: np.ndarray) -> np.ndarray:
    """Each uint64 as another one, in which every bit depends on all of its bits (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _bands(sets: _Sets) -> np.ndarray:
    """The MinHash of each text as keys of its bands, uint64 [24, n]."""
    draw = np.random.default_rng(_SEED)
    factors = draw.integers(0, 2**63, _BANDS * _ROWS, np.uint64) * np.uint64(2) + np.uint64(1)
    offsets = draw.integers(0, 2**63, _BANDS * _ROWS, np.uint64)
    starts = sets.ends - sets.sizes
    keys = np.zeros((_BANDS, len(sets.ends)), np.uint64)
    values = sets.values.astype(np.uint64)
    for number, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
        # Multiply-shift: M. Dietzfelbinger et al., "A reliable randomized algorithm for the closest-pair problem", 1997.
        least = np.minimum.reduceat((values * factor + offset) >> np.uint64(32), starts)
        band = number // _ROWS
        keys[band] = _mixed(keys[band] * np.uint64(0x9E3779B97F4A7C15) + least)
    return keys


def _common(first: _Sets, a: np.ndarray, second: _Sets, b: np.ndarray) -> np.ndarray:
    """How many values the text a[i] of `first` and b[i] of `second` have in common, int64 [m]."""
    keys = []
    for sets, texts in ((first, a), (second, b)):
        values, places = sets.of(texts)
        keys.append(places.astype(np.uint64) << np.uint64(32) | values)
    both = np.sort(np.concatenate(keys))
    twice = both[:-1][both[1:] == both[:-1]] >> np.uint64(32)
    return np.bincount(twice.astype(np.int64), minlength=len(a))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class TextIndex:
    """The kept texts, in which others are looked up. Memory holds about 700 bytes of a short text.

    resemblance: share of common words from which texts are nearly the same.
    """

    def __init__(self, parts: Iterable[Sequence[str]], resemblance: float = RESEMBLANCE) -> None:
        self.resemblance = resemblance
        self._texts, self._ends = bytearray(), array("Q")
        rows, hashes, bands, pieces, row = array("q"), array("Q"), [np.zeros((_BANDS, 0), np.uint64)], [], 0
        known: set[int] = set()
        for part in parts:
            new = []
            for place, text in enumerate(part):
                # A text that is kept twice is compared once.
                if (told := normal(text)) and (number := _hash(told)) not in known:
                    known.add(number)
                    new.append(told)
                    hashes.append(number)
                    rows.append(row + place)
                    self._texts += told.encode("utf-8", "surrogatepass")
                    self._ends.append(len(self._texts))
            row += len(part)
            if new:
                pieces.append(shingles(new))
                bands.append(_bands(pieces[-1]))
        self.count = row
        self._rows, hashed = np.array(rows, np.int64), np.array(hashes, np.uint64)
        self._order = np.argsort(hashed)
        self._hashes, self._pieces = hashed[self._order], _joined(pieces)
        self._by_band, self._keys = np.zeros((_BANDS, len(rows)), np.int32), np.concatenate(bands, axis=1)
        for order, keys in zip(self._by_band, self._keys, strict=True):
            order[:] = np.argsort(keys)
            keys[:] = keys[order]

    def find(self, parts: Iterable[Sequence[str]]) -> Found:
        """Which of the texts are alike to a kept one."""
        found, row = [NOTHING], 0
        for part in parts:
            found += [it._replace(samples=it.samples + row) for it in self._found([normal(text) for text in part])]
            row += len(part)
        return Found.best(found)

    def _found(self, texts: list[str]) -> list[Found]:
        if not len(self._rows) or not texts:
            return []
        hashes = np.array([_hash(text) for text in texts], np.uint64)
        at = np.searchsorted(self._hashes, hashes).clip(max=len(self._hashes) - 1)
        same = np.flatnonzero((self._hashes[at] == hashes) & np.array([bool(text) for text in texts]))
        kept = self._rows[self._order[at[same]]]
        found = [Found(same, kept, np.full(len(same), SAME, np.int8), np.ones(len(same), np.float32))]
        others = np.setdiff1d(np.flatnonzero([bool(text) for text in texts]), same)
        if not len(others):
            return found
        chosen = [texts[place] for place in others]
        pieces = shingles(chosen)
        for a, b in self._candidates(_bands(pieces)):
            common, sizes = _common(pieces, a, self._pieces, b), (pieces.sizes[a], self._pieces.sizes[b])
            alike, contained = common / (sizes[0] + sizes[1] - common), common / np.minimum(*sizes)
            near, part = alike >= _SHARED, (contained >= _CONTAINED) & (np.minimum(*sizes) >= _LEAST_CONTAINED)
            places = np.flatnonzero(near)
            near[places] = self._same_words([chosen[i] for i in a[places]], [self._text(i) for i in b[places]])
            for kind, share, places in ((NEAR, alike, np.flatnonzero(near)), (PART, contained, np.flatnonzero(part & ~near))):
                kinds = np.full(len(places), kind, np.int8)
                found.append(Found(others[a[places]], self._rows[b[places]], kinds, share[places].astype(np.float32)))
        return found

    def _same_words(self, texts: list[str], others: list[str]) -> np.ndarray:
        """Whether each text has the words of its fellow, but for some that are added, or written otherwise; bool [n]."""
        ours, theirs, pairs = _word_sets(texts), _word_sets(others), np.arange(len(texts))
        common = _common(ours, pairs, theirs, pairs)
        exchanged = np.minimum(ours.sizes, theirs.sizes) - common
        same = (exchanged <= _EXCHANGED * common) & (common >= self.resemblance * (ours.sizes + theirs.sizes - common))
        for place in np.flatnonzero(~same & (exchanged > 0) & (exchanged <= _SLIPS)):
            same[place] = _is_slip(texts[place], others[place])
        return same

    def _text(self, number: int) -> str:
        return self._texts[self._ends[number - 1] if number else 0 : self._ends[number]].decode("utf-8", "surrogatepass")

    def _candidates(self, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of texts that share a band: places of those with the `keys` [24, n], and of the kept ones; each pair once.

        Of more than 64 kept texts those are taken that share the most bands.
        """
        pairs = []
        for band, (kept, order) in enumerate(zip(self._keys, self._by_band, strict=True)):
            low, high = (np.searchsorted(kept, keys[band], side=side) for side in ("left", "right"))
            counts = np.minimum(high - low, _MAX_BUCKET)
            texts = np.repeat(np.arange(len(low)), counts)
            within = np.arange(len(texts)) - np.repeat(np.cumsum(counts) - counts, counts)
            pairs.append(texts.astype(np.uint64) << np.uint64(32) | order[low[texts] + within].astype(np.uint64))
        both, shared = np.unique(np.concatenate(pairs), return_counts=True)
        both = both[np.lexsort((-shared, both >> np.uint64(32)))]
        texts = (both >> np.uint64(32)).astype(np.int64)
        rank = np.arange(len(texts)) - np.searchsorted(texts, texts)
        both = both[rank < _MAX_BUCKET]
        for start in range(0, len(both), _PAIRS):
            part = both[start : start + _PAIRS]
            yield (part >> np.uint64(32)).astype(np.int64), (part & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _joined(parts: Sequence[_Sets]) -> _Sets:
    if not parts:
        return _Sets(np.zeros(0, np.uint32), np.zeros(0, np.int64))
    sizes = np.concatenate([part.sizes for part in parts])
    return _Sets(np.concatenate([part.values for part in parts]), np.cumsum(sizes))
