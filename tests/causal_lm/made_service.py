"""A service with the API of OpenAI on loopback, which answers chats by the tool calls of the example."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edgedistill.tasks.causal_lm.example import exchange

KNOWN = dict(exchange(number) for number in range(120))


@contextmanager
def served(
    entries: Callable[[dict[str, Any], str], list[dict[str, Any]] | None] = lambda asked, text: None,
    answer: Callable[[str], str] = KNOWN.__getitem__,
) -> Iterator[str]:
    """The address of the service, until the block ends.

    entries: what it tells of the tokens of a text, given the request. answer: the text with which it answers a prompt.
    """

    class Service(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            """Answer a chat."""
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            text = answer(asked["messages"][-1]["content"])
            content = entries(asked, text)
            for delta, reason, told in (({"content": text}, None, content and {"content": content}), ({}, "stop", None)):
                choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": told}
                self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
