"""A proxy in front of the teacher: callers get the teacher's answers, byte for byte, and the student gets a copy when they have them."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgedistill.gate.shadow.student import Exchange

if TYPE_CHECKING:
    import httpx2

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
"""What a server of ASGI calls for each request."""

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade expect".split()
)
"""Headers of one connection, which a proxy does not pass on (RFC 9110, 7.6.1)."""
_OBSERVED = ("/chat/completions", "/completions")
_LONGEST_REQUEST = 64 << 20
_LONGEST_OBSERVED = 4 << 20
"""Bytes of an answer up to which the student sees it; callers get it whole."""
_CONNECT_S = 10.0
_IDLE_S = 3.0
"""How long a connection to the teacher is kept: shorter than servers do, so that none of them closes while it is asked."""
_LOCAL = {b"localhost", b"127.0.0.1", b"[::1]"}


class Proxy:
    """An ASGI application. origin: scheme, host and port of the teacher. offer: is given each answered exchange; must not wait.

    local: whether only callers of this machine may ask; then the header Host has to name it, or any web page could (DNS rebinding).

    Requests go through as they are, with the keys of their callers: they are kept nowhere, and sent to `origin` alone. Redirects go back to
    the caller.
    """

    def __init__(self, origin: str, offer: Callable[[Exchange], None], *, local: bool) -> None:
        import httpx2

        self._url = httpx2.URL(origin)
        self._host = self._url.netloc
        self._offer, self._local = offer, local
        # Not a client: that keeps cookies, and would give those of one caller to another.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE_S)
        self._teacher = httpx2.AsyncHTTPTransport(limits=limits)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close"})
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        if self._local and headers.get(b"host", b"").rsplit(b":", 1)[0] not in _LOCAL and headers.get(b"host") not in _LOCAL:
            return await _refuse(send, 403, "this proxy answers callers of its own machine: ask it as 127.0.0.1, or start it with --host")
        body = await _body(receive)
        if body is None:
            return await _refuse(send, 413, f"the request has over {_LONGEST_REQUEST:,} bytes")
        relay, gone = asyncio.ensure_future(self._relay(scope, body, send, started)), asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((relay, gone), return_when=asyncio.FIRST_COMPLETED)
            if relay.done():
                relay.result()
        finally:
            # A caller who has gone needs no answer, for which the teacher would be paid.
            for task in (relay, gone):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        return None

    async def _relay(self, scope: Message, body: bytes, send: Send, started: float) -> None:
        import httpx2

        try:
            response = await self._teacher.handle_async_request(self._request(scope, body))
        except httpx2.HTTPError as error:
            return await _refuse(send, 502, f"the teacher {self._url.host} is not reached ({type(error).__name__})")
        try:
            observed = scope["method"] == "POST" and scope["path"].endswith(_OBSERVED) and response.status_code == 200
            answer = bytearray()
            passed = [(name, value) for name, value in response.headers.raw if name.lower() not in _HOP_BY_HOP]
            await send({"type": "http.response.start", "status": response.status_code, "headers": passed})
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            async for part in response.stream:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                if observed:
                    answer += part
                    observed = len(answer) <= _LONGEST_OBSERVED
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            # Before anything else is awaited: the caller may leave as soon as it has its answer.
            if observed:
                kind, encoding = (response.headers.get(name, "") for name in ("content-type", "content-encoding"))
                ms = 1e3 * (time.perf_counter() - started)
                self._offer(Exchange(uuid.uuid4().hex, body, bytes(answer), kind, encoding.strip().lower(), ms))
        finally:
            await response.aclose()

    def _request(self, scope: Message, body: bytes) -> httpx2.Request:
        import httpx2

        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        left_out = _HOP_BY_HOP | {b"host", b"content-length"}
        headers = [(b"host", self._host), *((name, value) for name, value in scope["headers"] if name not in left_out)]
        if body or scope["method"] in ("POST", "PUT", "PATCH"):
            headers.append((b"content-length", str(len(body)).encode()))
        return httpx2.Request(
            scope["method"], self._url.copy_with(raw_path=target), headers=headers, stream=httpx2.ByteStream(body),
            extensions={"timeout": {"connect": _CONNECT_S, "read": None, "write": None, "pool": None}},
        )  # fmt: skip


async def _body(receive: Receive) -> bytes | None:
    """The body of a request; None where it is too long."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LONGEST_REQUEST:
            return None
        if not message.get("more_body", False):
            return bytes(body)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"error": {"message": f"edgedistill shadow: {why}", "type": "shadow_proxy"}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
