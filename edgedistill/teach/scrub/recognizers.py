"""Our patterns and names of spaCy as recognizers of Presidio. Unlike Presidio's own, a pattern that takes too long raises an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import regex
import spacy
from presidio_analyzer import AnalysisExplanation, LocalRecognizer, RecognizerResult
from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine

from edgedistill.teach.scrub import known_names
from edgedistill.teach.scrub.addresses import ADDRESSES
from edgedistill.teach.scrub.languages import language_of, recased
from edgedistill.teach.scrub.national import national
from edgedistill.teach.scrub.people import NAMES, TITLED
from edgedistill.teach.scrub.rules import NAME, RULES, Rule

_SECONDS = 10.0
"""For a pattern on a text; Presidio's recognizers skip one that takes longer, and then a text counts as clean."""


class Words(SpacyNlpEngine):
    """The words of a text and its names of people, by the pipeline of its language where there is one.

    Words of context are compared as they are written, since not all pipelines know lemmas. pipelines: by language.
    """

    def __init__(self, pipelines: Mapping[str, Any]) -> None:
        super().__init__()
        self._pipelines = pipelines
        # What Presidio calls a language says which patterns are used, and all of ours stand under one.
        self.nlp: Any = {"en": spacy.blank("xx")}

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        """See `SpacyNlpEngine`."""
        pipeline = self._pipelines.get(language_of(text, tuple(self._pipelines))) if self._pipelines else None
        doc = (pipeline or self.nlp[language])(text)
        return NlpArtifacts(
            entities=list(doc.ents), tokens=doc, tokens_indices=[token.idx for token in doc],
            lemmas=[token.lower_ for token in doc], nlp_engine=self, language=language,
        )  # fmt: skip


class RuleRecognizer(LocalRecognizer):
    """A rule."""

    def __init__(self, rule: Rule, name: str) -> None:
        self.rule, self._pattern = rule, regex.compile(rule.regex, regex.DOTALL)
        super().__init__([rule.kind], supported_language="en", context=list(rule.context), name=name)

    def load(self) -> None:
        """Nothing is loaded."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None) -> list[RecognizerResult]:
        """What the pattern matches and the check takes. Raises TimeoutError."""
        read = recased(text) if self.rule.recased else text
        spans = [match.span() for match in self._pattern.finditer(read, timeout=_SECONDS)]
        check = self.rule.check
        right = [(start, end) for start, end in spans if check is None or check(text[start:end]) is not False]
        return [_result(self, start, end, self.rule.score) for start, end in right]


class NamesOfSpacy(LocalRecognizer):
    """The names of people that a pipeline of spaCy finds."""

    def __init__(self) -> None:
        super().__init__([NAME], supported_language="en", name="spacy")

    def load(self) -> None:
        """Nothing is loaded."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None) -> list[RecognizerResult]:
        """Entities with the label of people, as English and as other pipelines call them."""
        assert nlp_artifacts is not None
        found = [entity for entity in nlp_artifacts.entities if entity.label_ in ("PERSON", "PER")]
        spans = [_without_title(entity.text, entity.start_char) for entity in found]
        return [_result(self, start, end, 0.85) for start, end in spans]


class KnownNames(LocalRecognizer):
    """Names that stand in a list."""

    def __init__(self) -> None:
        super().__init__([NAME], supported_language="en", name="lists")

    def load(self) -> None:
        """Nothing is loaded."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None) -> list[RecognizerResult]:
        """See `known_names.spans`."""
        return [_result(self, start, end, 0.7) for start, end in known_names.spans(text)]


def _without_title(name: str, start: int) -> tuple[int, int]:
    title = TITLED.match(name)
    skipped = title.end() if title and title.end() < len(name) else 0
    return start + skipped, start + len(name)


def of_rules() -> list[LocalRecognizer]:
    """A recognizer for each rule, and that of known names."""
    rules = (*RULES, *national(), *ADDRESSES, *NAMES)
    return [*(RuleRecognizer(rule, f"{rule.kind}-{number}") for number, rule in enumerate(rules)), KnownNames()]


def _result(recognizer: Any, start: int, end: int, score: float) -> RecognizerResult:
    why = AnalysisExplanation(recognizer=recognizer.name, original_score=score)
    known = {RecognizerResult.RECOGNIZER_NAME_KEY: recognizer.name, RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: recognizer.id}
    return RecognizerResult(recognizer.supported_entities[0], start, end, score, why, known)
