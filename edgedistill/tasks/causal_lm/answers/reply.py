"""Reads what a server of OpenAI's API sends: streamed pieces of an answer, a whole answer, or a refusal."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from edgedistill.recipe.base import shortened
from edgedistill.tasks.causal_lm.answers.asking import Usage

if TYPE_CHECKING:
    import httpx2

_LONGEST_TEXT = 1 << 22
_LONGEST_EVENT = 1 << 22
_LONGEST_BODY = 1 << 24
_LONGEST_SAID = 300
_DONE = "[DONE]"


class Broken(Exception):
    """An answer did not arrive whole. It may be asked again, after `wait_s` seconds where the server says so."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


@dataclass
class Received:
    """What has arrived of an answer."""

    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    logprobs: list[dict[str, Any]] | None = None
    streamed: bool = False
    done: bool = False
    """Whether the server said that this was all."""
    _length: int = 0

    @property
    def complete(self) -> bool:
        """Whether the teacher ended the answer, even if the connection broke afterwards."""
        return self.done or self.finish_reason is not None

    def tokens(self) -> Usage:
        """The tokens of the server's count, else at least the pieces that arrived: each has a token or more."""
        counted = self.usage.get("completion_tokens")
        if counted is None and self.streamed:
            return Usage(self.usage.get("prompt_tokens"), len(self.pieces), estimated=True)
        return Usage(self.usage.get("prompt_tokens"), counted)

    def take(self, message: Any) -> None:
        """Add a piece of the stream, or a whole answer. Raises Broken for anything else, and for an error that the server sends."""
        if not isinstance(message, dict):
            raise Broken(f"the server sent {shortened(json.dumps(message))}, expected an object with choices")
        if message.get("error"):
            raise Broken(f"the server broke off: {said_in(message)}")
        choices = message.get("choices")
        if not isinstance(choices, list) or any(not isinstance(choice, dict) for choice in choices):
            raise Broken(f"the server sent an object with {', '.join(map(shortened, message)) or 'nothing'}, expected choices")
        for choice in choices[:1]:
            self._take_choice(choice)
        if isinstance(usage := message.get("usage"), dict):
            self.usage |= {name: count for name, count in usage.items() if type(count) is int and count >= 0}

    def _take_choice(self, choice: dict[str, Any]) -> None:
        part = choice.get("delta") or choice.get("message") or {}
        piece = part.get("content") if isinstance(part, dict) else None
        piece = choice.get("text") if piece is None else piece
        if piece is not None and not isinstance(piece, str):
            raise Broken("the server sent a content that is no text")
        if piece:
            self._length += len(piece)
            if self._length > _LONGEST_TEXT:
                raise Broken(f"the server sent over {_LONGEST_TEXT:,} characters without an end")
            self.pieces.append(piece)
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = shortened(choice["finish_reason"])
        if isinstance(logprobs := choice.get("logprobs"), dict):
            self.logprobs = [*(self.logprobs or []), *_by_token(logprobs)]


def _by_token(logprobs: dict[str, Any]) -> list[dict[str, Any]]:
    """Log-probabilities in the form of chats; those of /completions are lists beside each other."""
    if isinstance(content := logprobs.get("content"), list):
        return [entry for entry in content if isinstance(entry, dict)]
    tokens, values, alternatives = (logprobs.get(name) or [] for name in ("tokens", "token_logprobs", "top_logprobs"))
    return [
        {
            "token": token,
            "logprob": value,
            "top_logprobs": [{"token": other, "logprob": its} for other, its in (alternatives[place] or {}).items()]
            if place < len(alternatives)
            else [],
        }
        for place, (token, value) in enumerate(zip(tokens, values, strict=False))
    ]


async def read(response: "httpx2.Response", received: Received, wait: Callable[[Any], Any], clean: Callable[[str], str]) -> None:
    """Fill `received` from a response with status 200, streamed or whole.

    wait: awaits one piece, for a limited time. clean: takes out of a piece what must not be kept. Raises Broken where the answer is no such
    thing or ends too early.
    """
    if response.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/event-stream":
        received.take(_parsed(clean((await wait(body_of(response))).decode("utf-8", "replace"))))
        received.done = True
        return
    received.streamed = True
    events = _events(response)
    while True:
        try:
            data = await wait(anext(events))
        except StopAsyncIteration:
            break
        if data.strip() == _DONE:
            received.done = True
            return
        received.take(_parsed(clean(data)))
    if not received.complete:
        raise Broken("the connection ended in the middle of the answer")


async def _events(response: "httpx2.Response") -> AsyncIterator[str]:
    from httpx2 import EventSource

    async for event in EventSource(response, max_event_size=_LONGEST_EVENT):
        if event.event == "error":
            raise Broken(f"the server broke off: {_said(event.data)}")
        if event.data:
            yield event.data


async def body_of(response: "httpx2.Response") -> bytes:
    """The body of a response. Raises Broken for one that is too long."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LONGEST_BODY:
            raise Broken(f"the server sent over {_LONGEST_BODY:,} bytes, expected an answer")
    return bytes(body)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Broken(f"the server sent {_said(text)!r}, expected JSON") from error


def _said(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_SAID else f"{line[: _LONGEST_SAID - 3]}..."


def said_in(message: Any) -> str:
    """What the body of an error says, on one line."""
    found = message.get("error", message.get("detail", message)) if isinstance(message, dict) else message
    if isinstance(found, dict):
        found = found.get("message", found)
    return _said(found if isinstance(found, str) else json.dumps(found))


def retry_after(value: str | None) -> float | None:
    """Seconds of the header Retry-After, which holds a number or a date (RFC 9110, 10.2.3); None where it says neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
