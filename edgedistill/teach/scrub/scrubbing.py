"""Texts and JSON documents without their personal data, and the count of what was replaced. What cannot be read raises an error."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from edgedistill.files import canonical_hash
from edgedistill.recipe.scrub import Scrub
from edgedistill.teach.scrub.base import Finding, Scrubber, engine
from edgedistill.teach.scrub.pseudonyms import PSEUDONYM, Pseudonyms

VERSION = 1
"""Raise it where the same findings give another text."""
# Other blanks, dashes and digits than those of ASCII, which the patterns know.
_PLAIN = {ord(char): " " for char in "\u00a0\u2007\u2009\u202f"} | {ord(char): "-" for char in "\u2010\u2011\u2012\u2212"}
_STRING_OR_NUMBER = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.]{6,}(?:[eE][+-]?\d+)?', re.DOTALL)
_SHORTEST = 4


class NotScanned(Exception):
    """A text could not be read; the message is the kind of the error and has nothing of the text."""


class Scrubbing:
    """Replaces personal data by pseudonyms, and counts what was found. Raises UserError where engine or secret are missing."""

    def __init__(self, config: Scrub) -> None:
        self._config, self._engine = config, engine(config)
        self._pseudonyms = Pseudonyms(config.key)
        self.texts = 0
        self.found = Counter[str]()
        self.values = Counter[str]()
        """Different values by kind."""
        self._seen = set[str]()

    @property
    def identity(self) -> str:
        """Changes with whatever could change a scrubbed text."""
        return canonical_hash([VERSION, self._config.engine, self._engine.identity(self._config), self._pseudonyms.identity])

    @cached_property
    def _scrubber(self) -> Scrubber:
        return self._engine.load(self._config)

    def text(self, text: str, context: str | None = None) -> str:
        """A text without personal data. context: what it is, such as the name of its field. Raises NotScanned."""
        self.texts += 1
        plain, places = _plain(text)
        scrubber = self._scrubber
        try:
            found = scrubber.find(plain, context)
            merged = [*_merged(found, plain)]
        except Exception as error:
            # An engine, its models and patterns raise anything; whatever it is, the text was not read.
            raise NotScanned(type(error).__name__) from None
        parts, done = [], 0
        for start, end, kind in merged:
            value = plain[start:end]
            name = self._pseudonyms(kind, value)
            self._count(kind, name)
            parts += [text[done : places[start]], name]
            done = places[end - 1] + 1
        return "".join([*parts, text[done:]])

    def document(self, text: str, context: str | None = None) -> str:
        """The same of a text that may be a JSON object or list: its texts and long numbers are read one by one, and all else stays."""
        if not text.lstrip().startswith(("{", "[")):
            return self.text(text, context)
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return self.text(text, context)
        field = context

        def scrubbed(match: re.Match[str]) -> str:
            nonlocal field
            if match[1] is None:
                made = self.text(match[0], field)
                return match[0] if made == match[0] else json.dumps(made)
            value = json.loads(match[1])
            made = self.text(value, field)
            if match[2] is not None:
                field = value
            written = match[1] if made == value else json.dumps(made, ensure_ascii=False)
            return written + (match[2] or "")

        return _STRING_OR_NUMBER.sub(scrubbed, text)

    def value(self, value: Any, context: str | None = None) -> Any:
        """The same of a value that may hold others: of texts, long numbers, lists and objects, keys included."""
        if isinstance(value, str):
            return self.document(value, context)
        if isinstance(value, dict):
            return {self.text(key) if isinstance(key, str) else key: self.value(inner, str(key)) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(inner, context) for inner in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and len(written := str(value)) > 6:
            made = self.text(written, context)
            return value if made == written else made
        if value is None or isinstance(value, (bool, int, float)):
            return value
        raise NotScanned(f"a value of type {type(value).__name__}")

    def _count(self, kind: str, name: str) -> None:
        self.found[kind] += 1
        if name not in self._seen:
            self._seen.add(name)
            self.values[kind] += 1


def _plain(text: str) -> tuple[str, range | list[int]]:
    """A text as the patterns know it, without characters that are not seen, and the place of each of its characters in `text`."""
    if text.isascii():
        return text, range(len(text))
    kept = [(place, char) for place, char in enumerate(text) if unicodedata.category(char) != "Cf"]
    plain = "".join(str(unicodedata.decimal(char, char)) if char.isdecimal() else char for _, char in kept)
    return plain.translate(_PLAIN), [place for place, _ in kept]


def _merged(found: Iterable[Finding], text: str) -> Iterable[tuple[int, int, str]]:
    """Start, end and kind of what is replaced, in order: findings that overlap are one, of the kind of the longest.

    A value that was found is also replaced where it stands again in the same text, and pseudonyms stay as they are.
    """
    spans = [(one.start, one.end, one.kind) for one in found]
    for start, end, kind in [*spans]:
        value = text[start:end].strip(" .,;:\n")
        if sum(map(str.isalnum, value)) >= _SHORTEST:
            again = re.finditer(rf"(?<!\w){re.escape(value)}(?!\w)", text)
            spans += [(*match.span(), kind) for match in again]
    kept = [match.span() for match in PSEUDONYM.finditer(text)]
    pieces = sorted(piece for span in spans for piece in _without(span, kept, text))
    run: list[tuple[int, int, str]] = []
    for piece in pieces:
        if run and piece[0] >= max(end for _, end, _ in run):
            yield _joined(run)
            run = []
        run.append(piece)
    if run:
        yield _joined(run)


def _without(span: tuple[int, int, str], kept: list[tuple[int, int]], text: str) -> Iterable[tuple[int, int, str]]:
    """The parts of a span that are in none of `kept`, without blanks and full stops around them."""
    start, end, kind = span
    for left, right in [*((a, b) for a, b in kept if a < end and start < b), (end, end)]:
        piece = text[start : max(start, left)]
        shorter = piece.strip(" .,;:\n\t")
        if any(map(str.isalnum, shorter)):
            first = start + piece.index(shorter)
            yield first, first + len(shorter), kind
        start = right


def _joined(run: list[tuple[int, int, str]]) -> tuple[int, int, str]:
    kind = max(run, key=lambda piece: piece[1] - piece[0])[2]
    return run[0][0], max(end for _, end, _ in run), kind
