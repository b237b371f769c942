"""Makes the inputs of a file of a text, as the code of apps does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import JsonValue

from edgedistill.tasks.model_file import Loaded, ModelFile


class TextInputs:
    """The tokens of a text and their mask, int32 [1, tokens] each, filled up as `loaded`, the files of `file`, take them."""

    def __init__(self, file: ModelFile, loaded: Loaded) -> None:
        from tokenizers import Tokenizer

        (self._tokens, facts), (self._mask, _) = file.given("text"), file.given("mask")
        self._padding = int(facts["padding"])
        length = int(facts["length"])
        self._sizes: list[int] = loaded.sizes(self._tokens, 1) or facts.get("buckets") or [length]
        self._tokenizer: Any = Tokenizer.from_file(str(file.at(facts["tokenizer"])))
        self._tokenizer.no_padding()
        # A text that is longer is cut.
        self._tokenizer.enable_truncation(length)

    def __call__(self, text: str) -> dict[str, np.ndarray]:
        """The inputs by name."""
        tokens = self._tokenizer.encode(text).ids
        size = next(size for size in self._sizes if size >= len(tokens))
        row = np.full((1, size), self._padding, np.int32)
        row[0, : len(tokens)] = tokens
        return {self._tokens: row, self._mask: (np.arange(size) < len(tokens)).astype(np.int32)[None]}


def text_of(row: Mapping[str, Any]) -> JsonValue:
    """The request of a line of traces of texts. Raises ValueError where it has none."""
    if not isinstance(text := row.get("text"), str):
        raise ValueError(f"found {', '.join(map(str, row)) or 'nothing'}, expected text, a string")
    return {"text": text}
