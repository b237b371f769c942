"""What models of texts share: how a text becomes the tokens that an artifact takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .errors import BundleError, InputError, ModelError
from .model import Model, _check_cancelled
from .self_test import SelfTest


class ReadsTexts(Model):
    """A model whose inputs are the tokens of a text and their mask, and which has one output."""

    def _check(self) -> None:
        (self._output,) = self.entry["signature"]["outputs"]
        inputs = self.bundle.manifest["preprocessing"]["inputs"]
        kinds = {facts["kind"]: name for name, facts in inputs.items()}
        if set(kinds) != {"text", "mask"}:
            raise BundleError(
                f"manifest.json: found inputs of the kinds {', '.join(sorted(kinds))}, expected text and mask; get newer code"
            )
        self._tokens, self._mask = kinds["text"], kinds["mask"]
        facts = inputs[self._tokens]
        self._length, self._padding = int(facts["length"]), int(facts["padding"])
        self._tokenizer = _tokenizer(self.bundle.checked(facts["tokenizer"]), self._length)

    def tokens(self, text: str) -> list[int]:
        """The numbers of the tokens of a text, at most as many as the model takes."""
        return list(self._tokenizer.encode(text).ids)

    def arrays(self, text: str) -> Mapping[str, np.ndarray]:
        """The tokens of a text and their mask, int32 [1, length] each, as the artifact takes them."""
        tokens = self.tokens(text)
        row = np.full((1, self._length), self._padding, np.int32)
        row[0, : len(tokens)] = tokens
        mask = (np.arange(self._length) < len(tokens)).astype(np.int32)[None]
        return {self._tokens: row, self._mask: mask}

    def self_test(self) -> SelfTest:
        """Tokenize the golden texts of the bundle and run its golden inputs here; compare with what training and export gave."""
        golden = self.bundle.manifest.get("golden_texts", [])
        return replace(super().self_test(), texts=tuple(one["text"] for one in golden if self.tokens(one["text"]) != one["tokens"]))

    def _answer(self, text: str, cancelled: Callable[[], bool] | None) -> np.ndarray:
        """The output for a text, [1, ...]."""
        if not isinstance(text, str):
            raise InputError(f"found {type(text).__name__}, expected a text")
        _check_cancelled(cancelled)
        return self.run(self.arrays(text), cancelled=cancelled)[self._output["name"]]


def _tokenizer(path: Any, length: int) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ModelError("the package tokenizers is not installed; install this package with the extra texts") from error
    made = Tokenizer.from_file(str(path))
    made.no_padding()
    made.enable_truncation(length)
    return made
