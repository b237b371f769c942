"""What an exchange with a server of OpenAI's API asked for and what was answered, from the bytes that went over the wire."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from edgedistill.tasks.causal_lm.answers.asking import Prompt
from edgedistill.tasks.causal_lm.answers.reply import Broken, Received
from edgedistill.tasks.shadowed import NotComparable, Seen

_LONGEST = 1 << 24
_GZIP_OR_ZLIB = 47
"""`wbits` by which zlib takes either, by its header."""
_WHOLE = (None, "stop", "tool_calls", "function_call")
"""Why an answer may have ended that is whole."""


@dataclass(frozen=True)
class Exchange:
    """A prompt with the teacher's answer. most: tokens that the answer may have; None where the request does not say."""

    prompt: Prompt
    answer: str
    most: int | None


def exchange(request: bytes, response: bytes, content_type: str = "application/json", encoding: str = "") -> Exchange:
    """Read an exchange of /chat/completions or /completions, streamed or not. encoding: the header Content-Encoding.

    A single tool call is the answer `{"name": ..., "arguments": {...}}`, several are a list of those.
    Raises NotComparable where the request is not for one text, or the answer is not a whole one.
    """
    asked = _json(request, "the request is no JSON object")
    if asked.get("n") not in (None, 1):
        raise NotComparable("the request asks for several answers")
    most = next((asked[name] for name in ("max_completion_tokens", "max_tokens") if type(asked.get(name)) is int and asked[name] > 0), None)
    return Exchange(_prompt(asked), _answer(_plain(response, encoding), content_type), most)


def seen_exchange(seen: Seen) -> Exchange:
    """The same of what a child process is told."""
    return exchange(seen["request"].encode(), base64.b64decode(seen["response"]), seen["type"], seen["encoding"])


def trace(row: Mapping[str, Any]) -> tuple[JsonValue, JsonValue]:
    """Request and response of a line of traces: as the API has them, or `messages` or `prompt` with `answer`, a text.

    Raises ValueError where it has none.
    """
    request, response = row.get("request", row), row.get("response")
    if isinstance(row.get("answer"), str):
        response = {"choices": [{"message": {"content": row["answer"]}, "finish_reason": "stop"}]}
    if not isinstance(request, Mapping) or not isinstance(response, dict) or not ("messages" in request or "prompt" in request):
        raise ValueError(f"found {', '.join(map(str, row)) or 'nothing'}, expected request and response, or messages and answer")
    return dict(request), response


def recorded(exchange: Exchange) -> dict[str, JsonValue]:
    """The line of traces of an exchange: what `trace` reads, and nothing else of the request."""
    prompt: Any = {"prompt": exchange.prompt.text} if exchange.prompt.messages is None else {"messages": exchange.prompt.messages}
    return {**prompt, "answer": exchange.answer, **({} if exchange.most is None else {"max_tokens": exchange.most})}


def _prompt(asked: dict[str, Any]) -> Prompt:
    if isinstance(text := asked.get("prompt"), str) and text:
        return Prompt(text=text)
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise NotComparable("the request has no messages, and no text to continue")
    return Prompt(messages=[{"role": str(message.get("role")), "content": _text(message.get("content"))} for message in messages])


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
        return "".join(part["text"] for part in content)
    raise NotComparable("a message of the request is no text")


@dataclass
class _Calls:
    """Tool calls of an answer, whose arguments come in pieces where it is streamed."""

    names: dict[int, str] = field(default_factory=dict)
    arguments: dict[int, str] = field(default_factory=dict)

    def take(self, message: Any) -> None:
        choices = message.get("choices") if isinstance(message, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        part = choice.get("delta") or choice.get("message") or {}
        for place, call in enumerate(part.get("tool_calls") or []):
            number, function = call.get("index", place), call.get("function") or {}
            self.names[number] = self.names.get(number, "") + (function.get("name") or "")
            self.arguments[number] = self.arguments.get(number, "") + (function.get("arguments") or "")

    def text(self) -> str:
        calls = [{"name": name, "arguments": json.loads(self.arguments[number] or "{}")} for number, name in sorted(self.names.items())]
        return json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)


def _answer(body: bytes, content_type: str) -> str:
    streamed = content_type.partition(";")[0].strip().lower() == "text/event-stream"
    received, calls = Received(), _Calls()
    try:
        for data in _events(body) if streamed else [body]:
            message = _json(data, "the answer is no JSON object")
            received.take(message)
            calls.take(message)
        # Else a server that says nothing of the end, such as a whole answer, has given all.
        if streamed and not (received.complete or body.rstrip().endswith(b"[DONE]")):
            raise NotComparable("the answer broke off")
        if received.finish_reason not in _WHOLE:
            raise NotComparable("the answer was cut off")
        text = calls.text() if calls.names else "".join(received.pieces)
    except (Broken, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise NotComparable("the answer is not of the API of OpenAI") from error
    if not text.strip():
        raise NotComparable("the answer is empty")
    return text


def _events(body: bytes) -> Iterator[bytes]:
    """The data of the server-sent events in `body`, but for the one that ends them."""
    for event in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        data = b"\n".join(line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:"))
        if data and data.strip() != b"[DONE]":
            yield data


def _plain(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise NotComparable("the answer is compressed in a way that is not read here")
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, _LONGEST)
    except zlib.error as error:
        raise NotComparable("the answer is not compressed as it says") from error


def _json(text: bytes, otherwise: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise NotComparable(otherwise)
    return value
