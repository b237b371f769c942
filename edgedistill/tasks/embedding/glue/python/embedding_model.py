"""A model that gives a text its embedding."""

from __future__ import annotations

from collections.abc import Callable

from .embeddings import Embedding
from .errors import BundleError
from .texts import ReadsTexts


class EmbeddingModel(ReadsTexts):
    """A model of texts. `load` is that of `Model`."""

    dimensions: int
    """How many numbers an embedding has."""

    def _check(self) -> None:
        super()._check()
        self.dimensions = int(self._output["shape"][-1])
        found = self.bundle.manifest["preprocessing"]["outputs"][self._output["name"]]["similarity"]
        if found != "cosine":
            raise BundleError(f"manifest.json: found the similarity '{found}', expected cosine; get newer code")

    def embed(self, text: str, *, cancelled: Callable[[], bool] | None = None) -> Embedding:
        """The embedding of a text. A text that is longer than the model takes is cut.

        Args:
            text: What a user wrote.
            cancelled: Asked between the steps; where it gives True, Cancelled is raised.

        Raises:
            InputError: It is no text.
        """
        return Embedding(self._answer(text, cancelled).reshape(-1))
