"""What the self-test of an app compares with: conversations as tokens, and answers that the student wrote in float32."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from edgedistill.tasks.causal_lm import chat, trial
from edgedistill.tasks.data import chosen, spread

if TYPE_CHECKING:
    from edgedistill.tasks.causal_lm.dataset import Completions

_ANSWERS = 3
_LONGEST = 32
"""Tokens of a golden answer: enough to see a mistake in the cache, and soon written on a slow device."""
_USER = {"role": "user", "content": "What is the weather?"}
_CHATS = (
    [_USER],
    [{"role": "system", "content": "Answer in one word."}, _USER],
    [_USER, {"role": "assistant", "content": "Wet."}, {"role": "user", "content": "Was ΣΑΣ 3.5 °C\n\nü 語 🌧?"}],
)
"""Capitals that change with their place, marks, line ends and characters of several bytes."""
_TRIAL = "trial-student"
"""The step in which the student wrote answers; its folder stands beside that of the data."""


def entries(data: Completions, tried: int, folder: Path) -> dict[str, JsonValue]:
    """`golden_chats`, {messages, tokens} each, and `golden_answers`, {prompt, answer} each, for the manifest of a bundle.

    tried: prompts that the student answered, none without a trial. folder: of the data. A conversation that the chat template refuses, such
    as one with a role that it has not, is left out.
    """
    from jinja2 import TemplateError

    tokenizer = chat.found(str(folder / chat.FOLDER))
    chats: list[JsonValue] = []
    for messages in _CHATS:
        try:
            (tokens,) = tokenizer.prompts([messages])
        except TemplateError:
            continue
        chats.append({"messages": [dict(message) for message in messages], "tokens": list[JsonValue](tokens)})
    return {"golden_chats": chats, "golden_answers": _answers(data, tried, folder.parent / _TRIAL)}


def _answers(data: Completions, tried: int, written: Path) -> list[JsonValue]:
    if not tried or not (written / trial.ANSWERS).is_dir():
        return []
    answers, _ = trial.read(written)
    rows = chosen(data, "val", tried)
    return [
        {"prompt": data.prompt(rows[place]).tolist(), "answer": list[JsonValue](answers[place][:_LONGEST])}
        for place in spread(len(rows), _ANSWERS).tolist()
    ]
