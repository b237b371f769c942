"""The live view: one page, and the JSON that it asks for twice a second."""

from __future__ import annotations

import json
import socket
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from socketserver import TCPServer
from typing import ClassVar

from .errors import Mistake
from .record import Record

_PAGE = files(__package__).joinpath("page.html")
# The page has no other source than itself, so nothing that a label contains can load or send anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


def serve(address: tuple[str, int], record: Record) -> str:
    """Serve the live view in threads that end with the process. Returns its URL; raises Mistake if it can't listen."""
    host, port = address
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        server = _Server(address, family, record)
    except OSError as error:
        raise Mistake(
            f"the live view can't listen on {host}:{port} ({error.strerror}); choose another --listen"
        ) from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{f'[{host}]' if ':' in host else host}:{server.server_address[1]}/"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], family: socket.AddressFamily, record: Record) -> None:
        self.address_family = family
        super().__init__(address, partial(_Handler, record))

    def server_bind(self) -> None:
        # That of HTTPServer asks the name service for the host's name, which takes long on a board without a network.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = map(str, self.server_address[:2])  # type: ignore[assignment]


class _Handler(BaseHTTPRequestHandler):
    timeout: ClassVar[int] = 10

    def __init__(self, record: Record, *arguments: object) -> None:
        self._record = record
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer a browser."""
        if self.path == "/":
            self._send(200, "text/html; charset=utf-8", _PAGE.read_bytes())
        elif self.path == "/state.json":
            self._send(200, "application/json", json.dumps(self._record.document()).encode())
        else:
            self._send(404, "text/plain; charset=utf-8", b"There are / and /state.json.\n")

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff",
        }  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing: the page asks twice a second."""
