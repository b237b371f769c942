"""Who may ask the server of a review: browsers at its own address, with the token of a reviewer.

The token is in a header that only the page itself sets, and in no cookie, so that pages from elsewhere cannot act for a reviewer. A page
from elsewhere whose name was pointed to this machine (DNS rebinding) sends its own name as host, which is refused.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 64 * 1024
"""Bytes of a request's body: a judgement with the longest note is far smaller."""
_HEADERS = {
    # Nothing is loaded from elsewhere, and nothing that stands in the page is code.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
API = "/api/"
"""Where every request needs a token; the page itself holds nothing of a review."""


@dataclass(frozen=True)
class Refused:
    """Why a request is not answered."""

    status: int
    reason: str


class Guard:
    """Passes requests on to `app`, with the reviewer's name as `request.state.reviewer`, or refuses them.

    host: the address that the server listens at. tokens: gives the token of each reviewer.
    """

    def __init__(self, app: ASGIApp, host: str, tokens: Callable[[], Mapping[str, str]]) -> None:
        self._app, self._host, self._tokens = app, host, tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((name.encode(), value.encode()) for name, value in _HEADERS.items())]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        if refused is None:
            await self._app(scope, receive, guarded)
            return
        from starlette.responses import JSONResponse

        await JSONResponse({"detail": refused.reason}, refused.status)(scope, receive, guarded)

    def _refused(self, scope: Scope, headers: Mapping[str, str]) -> Refused | None:
        host = headers.get("host", "")
        if not allowed(host, self._host):
            return Refused(421, "this is not the address of the review")
        if "origin" in headers and headers["origin"] != f"{scope['scheme']}://{host}":
            return Refused(403, "pages from elsewhere cannot use the review")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") and scope["path"].startswith(API):
            return Refused(403, "pages from elsewhere cannot use the review")
        if scope["method"] not in ("GET", "HEAD") and not headers.get("content-length", "").isdecimal():
            return Refused(411, "expected the length of the request")
        if int(headers.get("content-length", 0)) > LARGEST:
            return Refused(413, f"expected at most {LARGEST} bytes")
        if not scope["path"].startswith(API):
            return None
        given, found = headers.get("authorization", "").removeprefix("Bearer ").encode(), None
        for name, token in self._tokens().items():
            # In constant time, and all of them: how long it takes says nothing of a token.
            if secrets.compare_digest(given, token.encode()):
                found = name
        if found is None:
            return Refused(401, "the link is not valid")
        scope.setdefault("state", {})["reviewer"] = found
        return None


def allowed(host: str, address: str) -> bool:
    """Whether the header `host` names a server that listens at `address`.

    At all addresses (0.0.0.0 or ::) every IP address does: a name could be another one's.
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if name is None:
        return False
    if name in ("localhost", address.lower()):
        return True
    try:
        found, ours = ipaddress.ip_address(name), ipaddress.ip_address(address)
    except ValueError:
        return False
    return found == ours or found.is_loopback or ours.is_unspecified
