"""What language a text is in, by its function words; and a text in small letters with capitals, as the patterns expect them."""

from __future__ import annotations

import importlib
from functools import cache, lru_cache

import regex

_LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pt", "pl", "sv", "da", "nb", "fi", "cs", "ro", "hu", "tr")


@cache
def _function_words(language: str) -> frozenset[str]:
    return frozenset(importlib.import_module(f"spacy.lang.{language}.stop_words").STOP_WORDS)


@cache
def _all_function_words() -> frozenset[str]:
    return frozenset().union(*map(_function_words, _LANGUAGES))


def is_function_word(word: str) -> bool:
    """Whether a word in small letters is a function word of any of the languages."""
    return word in _all_function_words()


def language_of(text: str, preferred: tuple[str, ...]) -> str:
    """The language most of whose function words stand in a text, such as "en"; one of `preferred` where several have as many."""
    words = regex.findall(r"\p{L}+", text.lower())
    order = dict.fromkeys((*preferred, *_LANGUAGES))
    return max(order, key=lambda language: sum(word in _function_words(language) for word in words))


_STATES = (
    "al|ak|az|ar|ca|co|ct|de|dc|fl|ga|hi|id|il|in|ia|ks|ky|la|me|md|ma|mi|mn|ms|mo|mt|ne|nv|nh|nj|nm|ny|nc|nd|oh|ok|or|pa|pr|ri|sc|sd|tn|tx|"
    "ut|vt|va|wa|wv|wi|wy|ae|ap|aa"
)
_CODES = regex.compile(
    rf"(?<=[ ,])(?:{_STATES})(?=,? \d{{5}}\b)|(?<=\b\d{{4}} ?)[a-z]{{2}}\b|(?<=/ )[a-z]{{2}}\b|(?<=\()[a-z]{{2}}(?=\))"
    r"|\b[a-z]{2,3}(?=,? \d{4}\b)"
)
"""Short words beside a number that are written in capitals: states and provinces, and the letters of a Dutch code."""


@lru_cache(maxsize=1)
def recased(text: str) -> str:
    """A text of the same length whose words have capitals but function words, and whose codes with digits are in capitals."""
    common = _function_words(language_of(text, ()))

    def changed(match: regex.Match[str]) -> str:
        word = match[0]
        if word in common:
            return word
        made = word.upper() if any(map(str.isdigit, word)) else word[0].upper() + word[1:]
        return made if len(made) == len(word) else word

    return str(regex.sub(r"\w+", changed, _CODES.sub(lambda match: match[0].upper(), text)))
