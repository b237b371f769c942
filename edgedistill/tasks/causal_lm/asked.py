"""A teacher as an app asks it: a prompt of val a request, and its whole answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import JsonValue

from edgedistill.records import Score
from edgedistill.tasks.causal_lm import answering, chat, trial
from edgedistill.tasks.causal_lm.answers.asking import Prompt
from edgedistill.tasks.causal_lm.answers.endpoint import EndpointAsker
from edgedistill.tasks.causal_lm.answers.local import LocalAsker
from edgedistill.tasks.causal_lm.answers.recipe import Endpoint, Sampling
from edgedistill.tasks.causal_lm.dataset import Completions
from edgedistill.tasks.causal_lm.source import Exchanges
from edgedistill.tasks.requests import HERE, Judged, Reply, by_callers

if TYPE_CHECKING:
    from edgedistill.tasks.causal_lm.decoder import Decoder


class _Prompts:
    """The prompts of val with the data's answers, and what is right about others."""

    def __init__(self, source: Exchanges, data: Completions, sampling: Sampling | None) -> None:
        val = set(data.indices["val"].tolist())
        self._data = data
        self._exchanges = {row: exchange for row, exchange in enumerate(source.exchanges()) if row in val}
        self._sampling = _one(sampling, data)
        self.settings: Mapping[str, JsonValue] = self._sampling.model_dump(mode="json")

    def _prompt(self, row: int) -> Prompt:
        return answering.prompt_of(self._exchanges[row])

    def judge(self, replies: Sequence[Reply]) -> Judged:
        """The shares of answers that are right, as trials of the student have them."""
        prompts = [self._data.text(self._data.prompt(reply.row)) for reply in replies]
        told, each = trial.judged(self._data, prompts, [r.value for r in replies], [self._exchanges[r.row].answer for r in replies])
        shares = {name: value for name, value in told.items() if name not in ("scores", "rouge")} | told["scores"]
        scores = {
            name: Score(value=share["right"] / share["n"], correct=share["right"], n=share["n"], interval=share["interval"])
            for name, share in shares.items()
        }
        return Judged(scores, told.get("rouge", {}), each)

    def valid(self, reply: Reply) -> bool | None:
        """Whether an answer is JSON that fits the schema; None for texts."""
        return None if self._data.config.format == "text" else self._data.judge.valid(reply.value)


class LocalRequests(_Prompts):
    """A decoder on this machine, whose callers share it."""

    where = HERE

    def __init__(self, decoder: Decoder, tokenizer: Any, name: str, *prompts: Any) -> None:
        super().__init__(*prompts)
        self._asker = LocalAsker(answering.ready(decoder), tokenizer, name, batch_size=1)  # type: ignore[arg-type]

    def ask(self, rows: np.ndarray, callers: int) -> list[Reply]:
        """Answer each prompt by itself."""

        def answer(row: int) -> tuple[str, tuple[int, int] | None]:
            (made,) = self._asker.ask([self._prompt(row)], self._sampling)
            return made.text, _counted(made.usage)

        return by_callers(answer, rows, callers)


class EndpointRequests(_Prompts):
    """A service, which is asked once for each prompt: a request that fails is not tried again."""

    def __init__(self, endpoint: Endpoint, *prompts: Any) -> None:
        super().__init__(*prompts)
        self._endpoint = endpoint
        self.where = EndpointAsker(endpoint).host

    def ask(self, rows: np.ndarray, callers: int) -> list[Reply]:
        """Ask for all of them, so many at the same time, over connections that stay open."""
        failures: dict[str, str] = {}
        asker = EndpointAsker(self._endpoint.model_copy(update={"concurrency": callers, "retries": 0}), failures)
        prompts = {row: self._prompt(row) for row in rows.tolist()}
        waiting: dict[str, list[int]] = {}
        for row, prompt in prompts.items():
            waiting.setdefault(prompt.key, []).append(row)
        replies = []
        for made in asker.ask(list(prompts.values()), self._sampling):
            if made.complete:
                replies.append(Reply(waiting[made.key].pop(), made.latency_s, made.text, tokens=_counted(made.usage)))
        lost = [(row, key) for key, left in waiting.items() for row in left]
        return replies + [Reply(row, 0.0, error=failures.get(key, "no answer arrived")) for row, key in lost]


def _counted(usage: Any) -> tuple[int, int] | None:
    counts = (usage.prompt, usage.completion)
    return None if None in counts or usage.estimated else counts


def _one(sampling: Sampling | None, data: Completions) -> Sampling:
    """One answer as the recipe draws them, by default the likeliest one; no longer than rows have room for behind the longest prompt."""
    chosen = sampling or Sampling(temperature=0.0)
    room = data.facts.length - int(data.prompts[data.indices["val"]].max())
    return chosen.model_copy(update={"samples": 1, "max_tokens": min(chosen.max_tokens, room)})


def requests(
    config: Any, source: Exchanges, data: Completions, decoder: Decoder | None, tokenizer: str | None
) -> LocalRequests | EndpointRequests:
    """The teacher of `config`: an endpoint, or `decoder`. tokenizer: of a teacher that reads others than the data's; None for these."""
    plan = getattr(config, "answers", None)
    prompts = (source, data, None if plan is None else plan.sampling)
    if decoder is None:
        return EndpointRequests(config.endpoint, *prompts)
    made = chat.found(tokenizer or str(data.folder / chat.FOLDER)).tokenizer
    return LocalRequests(decoder, made, config.label, *prompts)
