"""Answers without personal data: a teacher repeats those of prompts, and may know some itself."""

from __future__ import annotations

from dataclasses import replace

from edgedistill.tasks.causal_lm.answers.asking import NOT_SCANNED, Answer
from edgedistill.teach.scrub.scrubbing import NotScanned, Scrubbing


class ScrubbedAnswers:
    """A `Cleaner`: replaces personal data in answers before they are recorded."""

    def __init__(self, scrubbing: Scrubbing) -> None:
        self._scrubbing, self._before = scrubbing, scrubbing.found.copy()
        self.identity = scrubbing.identity

    @property
    def replaced(self) -> dict[str, int]:
        """How many values of each kind were replaced in answers."""
        return dict(sorted((self._scrubbing.found - self._before).items()))

    def __call__(self, answer: Answer) -> Answer:
        """The answer without personal data; one that could not be read is recorded without its text, and dropped by the judge.

        What arrived of an answer whose connection broke may end inside a value, and nobody reads it: it is recorded without its text.
        """
        if not answer.complete:
            return replace(answer, text="", top_logprobs=None)
        try:
            text = self._scrubbing.document(answer.text)
        except NotScanned:
            return replace(answer, text="", finish_reason=NOT_SCANNED, top_logprobs=None)
        # The tokens of what was replaced stand in them too.
        return answer if text == answer.text else replace(answer, text=text, top_logprobs=None)
