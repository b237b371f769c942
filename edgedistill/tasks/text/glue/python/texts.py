"""What models of texts share: how a text becomes the tokens that an artifact takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .bundle_folder import Bundle
from .errors import BundleError, InputError, ModelError
from .model import Model, _check_cancelled
from .self_test import SelfTest

_ALIKE = ("format", "precision", "delegate", "input")
"""What the files of several sizes have in common."""


class ReadsTexts(Model):
    """A model whose inputs are the tokens of a text and their mask, and which has one output.

    Where the bundle has files for several numbers of tokens, all of them are loaded, and a text is run by the smallest that holds it.
    """

    _buckets: list[int]
    """Numbers of tokens that texts are filled up to, rising."""

    def __init__(self, bundle: Bundle, entry: Mapping[str, Any], threads: int) -> None:
        super().__init__(bundle, entry, threads)
        self._files: dict[int, Model] = {}
        if "sizes" in entry:
            alike = [other for other in bundle.manifest["artifacts"] if all(other.get(key) == entry[key] for key in _ALIKE)]
            self._files = {self._tokens_of(one): self if one["name"] == entry["name"] else self._file(one, threads) for one in alike}
            self._buckets = sorted(self._files)

    def _file(self, entry: Mapping[str, Any], threads: int) -> Model:
        """The file of another size, for tensors alone."""
        made: type[Model] = type("File", (Model,), {"runtimes": self.runtimes})
        return made(self.bundle, entry, threads)

    def _tokens_of(self, entry: Mapping[str, Any]) -> int:
        """How many tokens a file of one size takes."""
        return next(int(spec["shape"][1]) for spec in entry["signature"]["inputs"] if spec["name"] == self._tokens)

    @property
    def _others(self) -> list[Model]:
        return [file for file in self._files.values() if file is not self]

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
        self._unknown: int | None = facts.get("unknown")
        self._buckets = facts.get("buckets", [self._length])
        self._tokenizer = _tokenizer(self.bundle.checked(facts["tokenizer"]), self._length)

    def tokens(self, text: str) -> list[int]:
        """The numbers of the tokens of a text, at most as many as the model takes."""
        return list(self._tokenizer.encode(text).ids)

    def features(self, tokens: Sequence[int]) -> dict[str, float]:
        """How many tokens there are, and what share of them is unknown, where the tokenizer has a token for that."""
        share = {} if self._unknown is None else {"unknown": sum(token == self._unknown for token in tokens) / max(1, len(tokens))}
        return {"tokens": float(len(tokens)), **share}

    def arrays(self, text: str) -> Mapping[str, np.ndarray]:
        """The tokens of a text and their mask, int32 [1, tokens] each, filled up as an artifact of the bundle takes them."""
        tokens = self.tokens(text)
        length = next(bucket for bucket in self._buckets if bucket >= len(tokens))
        row = np.full((1, length), self._padding, np.int32)
        row[0, : len(tokens)] = tokens
        mask = (np.arange(length) < len(tokens)).astype(np.int32)[None]
        return {self._tokens: row, self._mask: mask}

    def warm_up(self, times: int = 3) -> None:
        """Run on zeros, so that the first real call takes no longer than others."""
        super().warm_up(times)
        for file in self._others:
            file.warm_up(times)

    def close(self) -> None:
        """Free the runtime's memory. A second call does nothing."""
        super().close()
        for file in self._others:
            file.close()

    def self_test(self) -> SelfTest:
        """Tokenize the golden texts of the bundle and run its golden inputs here; compare with what training and export gave."""
        golden, test = self.bundle.manifest.get("golden_texts", []), super().self_test()
        outputs = [*test.outputs]
        for file in self._others:
            # Nothing executed the file of a size that no sample had.
            if file.entry["golden"]["outputs"] is not None:
                outputs += [replace(output, name=f"{output.name} of {file.info.artifact}") for output in file.self_test().outputs]
        texts = tuple(one["text"] for one in golden if self.tokens(one["text"]) != one["tokens"])
        return replace(test, outputs=outputs, texts=texts)

    def _answer(self, text: str, cancelled: Callable[[], bool] | None) -> np.ndarray:
        """The output for a text, [1, ...]."""
        if not isinstance(text, str):
            raise InputError(f"found {type(text).__name__}, expected a text")
        _check_cancelled(cancelled)
        arrays = self.arrays(text)
        file = self._files.get(arrays[self._tokens].shape[1], self)
        return file.run(arrays, cancelled=cancelled)[self._output["name"]]


def _tokenizer(path: Any, length: int) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ModelError("the package tokenizers is not installed; install this package with the extra texts") from error
    made = Tokenizer.from_file(str(path))
    made.no_padding()
    made.enable_truncation(length)
    return made
