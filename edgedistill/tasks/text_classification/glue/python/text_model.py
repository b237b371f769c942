"""A model that gives a text its label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .routing import Router
from .scores import Prediction, check_labels, probabilities
from .self_test import SelfTest
from .texts import ReadsTexts


class TextModel(ReadsTexts):
    """A model of texts. `load` is that of `Model`."""

    labels: tuple[str, ...]

    def _check(self) -> None:
        super()._check()
        self.labels = tuple(self.bundle.manifest["labels"])
        check_labels(self.labels, self._output)
        self.router = Router(self.bundle.manifest, self.entry["name"], self.features([]))

    def predict(self, text: str, *, cancelled: Callable[[], bool] | None = None) -> Prediction:
        """The probabilities of the labels of a text. A text that is longer than the model takes is cut.

        Args:
            text: What a user wrote.
            cancelled: Asked between the steps; where it gives True, Cancelled is raised.

        Raises:
            InputError: It is no text.
        """
        logits = self._answer(text, cancelled)
        return Prediction(self.labels, probabilities(logits), self.features(self.tokens(text)))

    def self_test(self) -> SelfTest:
        """Tokenize the golden texts of the bundle and run its golden inputs here; compare with what training and export gave."""
        return replace(super().self_test(), routes_wrong=self.router.wrong_rows())
