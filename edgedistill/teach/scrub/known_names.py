"""Names of people that stand in a list of common ones, also in small letters. It needs no model, and no words around a name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

import regex

from edgedistill.teach.scrub.languages import is_function_word
from edgedistill.teach.scrub.people import TITLED

_WORD = regex.compile(r"\p{L}[\p{L}\p{M}]*(?:['’-]\p{L}[\p{L}\p{M}]*)*")
_MOST = 5
"""Words of a name."""
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "æ": "ae", "đ": "d", "ı": "i"})


class _Lists(NamedTuple):
    given: frozenset[str]
    words: frozenset[str]
    """Given names that are words or places too."""
    family: frozenset[str]
    family_words: frozenset[str]
    cues: frozenset[str]
    """Words in front of a name in small letters."""
    no_given: frozenset[str]
    """Capitals in front of a family name that make something else of it, such as a place."""
    particles: frozenset[str]


class _Word(NamedTuple):
    text: str
    key: str
    start: int
    end: int

    @property
    def is_capital(self) -> bool:
        return self.text[0].isupper()


@cache
def _lists() -> _Lists:
    """The lists of names.txt, by the headings of its parts."""
    found: dict[str, set[str]] = {}
    part = set[str]()
    for line in resources.files("edgedistill.teach.scrub").joinpath("names.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            part = found.setdefault(line.strip("[]").replace("-", "_"), set())
        elif not line.startswith("#"):
            part.update(line.split())
    return _Lists(**{name: frozenset(names) for name, names in found.items()})


def is_listed(name: str) -> bool:
    """Whether any word of a name stands in a list."""
    lists = _lists()
    names = (lists.given, lists.words, lists.family, lists.family_words)
    return any(key in keys for word in _words(name) for key in word.key.split("-") for keys in names)


def _words(text: str) -> list[_Word]:
    return [_Word(match[0], _key(match[0]), *match.span()) for match in _WORD.finditer(text)]


def _key(word: str) -> str:
    """A word as the lists have it."""
    plain = word.casefold().translate(_LETTERS)
    if plain.isascii():
        return plain
    return "".join(char for char in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(char))


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where names stand: a given name with the capitals behind it, or any capital in front of a family name. In small letters a given name
    counts where a family name, or a word that tells, is with it."""
    lists, words, place = _lists(), _words(text), 0
    while place < len(words):
        word = words[place]
        run = _run(text, words, place)
        behind = [part for other in words[place + 1 : place + run] for part in other.key.split("-")]
        has_family = any(part in lists.family or part in lists.family_words for part in behind)
        first = word.key.split("-")[0]
        if not word.is_capital:
            accepted = first in lists.given and (has_family or (len(first) > 3 and _has_cue(text, words, place)))
        elif first in lists.given or first in lists.words:
            accepted = has_family or (first in lists.given and len(first) > 2 and not word.text.isupper())
        else:
            accepted = run == 2 and behind[-1] in lists.family and _may_be_given(word)
        if accepted:
            yield word.start, words[place + run - 1].end
        place += run if accepted else 1


def _may_be_given(word: _Word) -> bool:
    """Whether a capital that no list of given names has may be one."""
    lists = _lists()
    if not word.text.istitle() or len(word.key) < 3 or word.key in lists.no_given or TITLED.match(f"{word.text} "):
        return False
    return not is_function_word(word.text.lower())


def _run(text: str, words: list[_Word], place: int) -> int:
    """How many words from `place` may be one name: capitals behind a capital, known names behind a small letter."""
    count, capital = 1, words[place].is_capital
    for number in range(place + 1, min(place + _MOST, len(words))):
        before, word = words[number - 1], words[number]
        gap = text[before.end : word.start]
        if gap != " " and not (gap == ". " and len(before.text) == 1):
            break
        if word.is_capital if capital else not word.is_capital and is_listed(word.text):
            count = number - place + 1
        elif word.key not in _lists().particles:
            break
    return count


def _has_cue(text: str, words: list[_Word], place: int) -> bool:
    """Whether a word in front of a name tells that there is one."""
    return place > 0 and not text[words[place - 1].end : words[place].start].strip(" ,:") and words[place - 1].key in _lists().cues
