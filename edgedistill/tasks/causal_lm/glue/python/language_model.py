"""A language model: answers conversations, and continues texts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .bundle_folder import Bundle
from .errors import BundleError, InputError, ModelError
from .golden_answers import GoldenAnswer, LanguageSelfTest
from .model import Model, _check_cancelled
from .prompts import Message, Pieces, Prompts
from .replies import Reply, Router

OnText = Callable[[str], bool | None]
"""Is given each piece of an answer as it is written. Where it returns False, the answer ends there."""


class LanguageModel(Model):
    """A language model. `load` is that of `Model`. Calls from several threads run one after the other."""

    def __init__(self, bundle: Bundle, entry: Mapping[str, Any], threads: int) -> None:
        self._writing = threading.Lock()
        # The signature of the entry has the length of the golden inputs; the file takes fewer tokens as well.
        super().__init__(bundle, {**entry, "signature": bundle.manifest["signature"]["methods"]["forward"]}, threads)

    def _check(self) -> None:
        preprocessing = self.bundle.manifest["preprocessing"]
        kinds = {facts["kind"]: name for name, facts in preprocessing["inputs"].items()}
        (self._output,) = preprocessing["outputs"]
        facts = preprocessing["outputs"][self._output]
        if set(kinds) != {"text", "positions", "wanted"} or facts["kind"] != "next token":
            found = f"inputs of the kinds {', '.join(sorted(kinds))} and the output {facts['kind']}"
            raise BundleError(f"manifest.json: found {found}, expected text, positions and wanted, and next token; get newer code")
        self._tokens, self._positions, self._wanted = (kinds[kind] for kind in ("text", "positions", "wanted"))
        self._end = int(facts["end"])
        given = preprocessing["inputs"][self._tokens]
        self.context = int(given["length"])
        """Most tokens of a prompt with its answer."""
        self._piece = int(self.entry.get("prompt_piece") or self.context)
        template = given["template"] and self.bundle.checked(given["template"]).read_text(encoding="utf-8")
        try:
            self._prompts = Prompts(self.bundle.checked(given["tokenizer"]), template, given["special_tokens"])
        except ImportError as error:
            raise ModelError(f"{error}; install this package with the extra texts") from error
        self.router = Router(self.bundle.manifest, self.entry["name"], ("tokens", "answer_tokens"))

    def chat(
        self, messages: Sequence[Message], *, max_tokens: int | None = None, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0,
        on_text: OnText | None = None, cancelled: Callable[[], bool] | None = None,
    ) -> Reply:  # fmt: skip
        """Answer a conversation.

        Args:
            messages: {"role": ..., "content": ...} each; the last one is answered.
            max_tokens: Most tokens of the answer; by default as many as the context has room for.
            temperature: 0 takes the likeliest token each time; others draw by the probabilities ** (1 / temperature).
            top_p: Tokens are drawn of the likeliest ones that hold this share together (arXiv 1904.09751).
            seed: The same one draws the same answer.
            on_text: Is given each piece of the answer; where it returns False, the answer ends, and `finish` is "cancelled".
            cancelled: Asked before and after each token; where it gives True, Cancelled is raised.

        Raises:
            InputError: Something else than messages, a conversation that the template refuses, or one that is too long.
        """
        return self._write(self.tokens(messages), max_tokens, _choice(temperature, top_p, seed), on_text, cancelled)

    def complete(
        self, text: str, *, max_tokens: int | None = None, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0,
        on_text: OnText | None = None, cancelled: Callable[[], bool] | None = None,
    ) -> Reply:  # fmt: skip
        """Continue a text, without a chat template; everything else as `chat`."""
        if not isinstance(text, str):
            raise InputError(f"found {type(text).__name__}, expected a text")
        return self._write(self._prompts.complete(text), max_tokens, _choice(temperature, top_p, seed), on_text, cancelled)

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """The numbers of the tokens of a conversation, as the model is given them. Raises InputError as `chat` does."""
        wrong = not isinstance(messages, Sequence) or isinstance(messages, str) or not messages
        if wrong or not all(isinstance(m, Mapping) and all(isinstance(m.get(key), str) for key in ("role", "content")) for m in messages):
            raise InputError(f"found {str(messages)[:80]!r}, expected a list of {{'role': TEXT, 'content': TEXT}}")
        try:
            return self._prompts.chat(messages)
        except ValueError as error:
            raise InputError(str(error)) from error

    def warm_up(self, times: int = 3) -> None:
        """Write two tokens a few times, so that the first real call takes no longer than others."""
        for _ in range(times):
            self._write([self._end], 2, _greedy, None, None)

    def self_test(self) -> LanguageSelfTest:
        """Run the golden inputs and prompts of the bundle here; compare with what training, export and the model in float32 gave."""
        manifest, outputs = self.bundle.manifest, super().self_test()
        texts = tuple(
            one["messages"][-1]["content"] for one in manifest.get("golden_chats", []) if self.tokens(one["messages"]) != one["tokens"]
        )
        answers = []
        for number, one in enumerate(manifest.get("golden_answers", [])):
            found, expected = self._write(one["prompt"], len(one["answer"]), _greedy, None, None).tokens, one["answer"]
            pairs = zip([*found, None], [*expected, None], strict=False)
            same = next((place for place, (a, b) in enumerate(pairs) if a != b), len(expected))
            answers.append(GoldenAnswer(number, same, len(expected)))
        exact, wrong = self.entry["precision"] == "fp32", self.router.wrong_rows()
        return LanguageSelfTest(outputs.info, outputs.outputs, texts=texts, routes_wrong=wrong, answers=answers, exact=exact)

    def _write(
        self, prompt: Sequence[int], most: int | None, choose: Callable[[np.ndarray], int], on_text: OnText | None,
        cancelled: Callable[[], bool] | None,
    ) -> Reply:  # fmt: skip
        """An answer to the tokens `prompt`: calls of the file for all of them, and then one for each token."""
        if not 0 < len(prompt) <= self.context:
            raise InputError(f"found a prompt of {len(prompt)} tokens, expected 1 to {self.context}: shorten it")
        if most is not None and most < 1:
            raise InputError(f"found max_tokens {most}, expected 1 or more")
        # The last token is not given back, so that it needs no place.
        room = self.context - len(prompt) + 1
        tokens, logprobs = list[int](), list[float]()
        pieces, finish, place, given = Pieces(self._prompts), "length", 0, np.array([prompt], np.int32)
        with self._writing:
            started, first_s = time.perf_counter(), 0.0
            while len(tokens) < (room if most is None else min(room, most)):
                logits = self._behind(given, place, cancelled)
                token = choose(logits)
                first_s = first_s or time.perf_counter() - started
                tokens.append(token)
                logprobs.append(_logprob(logits, token))
                if token == self._end:
                    finish = "stop"
                    break
                if (piece := pieces.add(token)) and on_text is not None and on_text(piece) is False:
                    finish = "cancelled"
                    break
                place, given = place + given.shape[1], np.array([[token]], np.int32)
        text = self._prompts.text(tokens)
        if on_text is not None and finish != "cancelled" and (rest := pieces.rest(tokens)):
            on_text(rest)
        _check_cancelled(cancelled)
        return Reply(text, tokens, finish, first_s, logprobs, {"tokens": float(len(prompt)), "answer_tokens": float(len(tokens))})

    def _behind(self, tokens: np.ndarray, start: int, cancelled: Callable[[], bool] | None) -> np.ndarray:
        """The logits behind `tokens`, int32 [1, T], which stand from the position `start` on: float32 [V]."""
        for place in range(0, tokens.shape[1], self._piece):
            part = tokens[:, place : place + self._piece]
            positions = np.arange(start + place, start + place + part.shape[1], dtype=np.int32)[None]
            # Nobody needs the logits of other tokens than the last one.
            inputs = {self._tokens: part, self._positions: positions, self._wanted: np.array([[part.shape[1] - 1]], np.int32)}
            outputs = self.run(inputs, cancelled=cancelled)
        logits: np.ndarray = outputs[self._output][0, 0]
        return logits


def _logprob(logits: np.ndarray, token: int) -> float:
    shifted = logits.astype(np.float64) - logits.max()
    return float(shifted[token] - np.log(np.exp(shifted).sum()))


def _greedy(logits: np.ndarray) -> int:
    return int(logits.argmax())


def _choice(temperature: float, top_p: float, seed: int) -> Callable[[np.ndarray], int]:
    """What chooses a token by logits, float32 [V]."""
    if not temperature >= 0 or not 0 < top_p <= 1:
        raise InputError(f"found temperature {temperature} and top_p {top_p}, expected 0 or more, and a share above 0 up to 1")
    if temperature == 0:
        return _greedy
    random = np.random.default_rng(seed)

    def draw(logits: np.ndarray) -> int:
        scaled = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
        order = np.argsort(-scaled, kind="stable")
        shares = np.cumsum(scaled[order]) / scaled.sum()
        kept = order[: int(np.searchsorted(shares, top_p)) + 1]
        return int(random.choice(kept, p=scaled[kept] / scaled[kept].sum()))

    return draw
