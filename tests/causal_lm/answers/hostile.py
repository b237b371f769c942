"""A server of OpenAI's API that misbehaves as it is told, and counts what it was asked and what it answered wholly."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECES = ["An ", "answer ", "in ", "pieces."]
"""What each answer begins with; prompt and seed follow."""


class Hostile:
    """A running server. `plan` says how it treats the requests to come; when it is empty, they are answered."""

    def __init__(self, piece_s: float = 0.0) -> None:
        hostile = self
        self.plan: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.paths: list[str] = []
        self.completed: Counter[tuple[str, int]] = Counter()
        """Answers that were sent to their end, by the last words of the prompt and the seed."""
        self.has_logprobs = True
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with hostile._lock:
                    hostile.bodies.append(body)
                    hostile.headers.append(dict(self.headers))
                    hostile.times.append(time.monotonic())
                    hostile.paths.append(self.path)
                    what = hostile.plan.pop(0) if hostile.plan else "answer"
                    hostile.at_once += 1
                    hostile.most_at_once = max(hostile.most_at_once, hostile.at_once)
                try:
                    getattr(self, f"do_{what.partition(' ')[0].replace('-', '_')}")(body, what.partition(" ")[2])
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                finally:
                    with hostile._lock:
                        hostile.at_once -= 1

            def refuse(self, status: int, content: Any, **headers: str) -> None:
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)

            def do_status(self, body: dict[str, Any], argument: str) -> None:
                status, _, rest = argument.partition(" ")
                wait, _, message = rest.partition(" ")
                content = {"error": {"message": message or "no", "type": "some", "param": None}}
                self.refuse(
                    int(status), json.loads(message) if message.startswith("{") else content, **({"Retry_After": wait} if wait else {})
                )

            def do_redirect(self, body: dict[str, Any], argument: str) -> None:
                self.refuse(307, "", Location=argument)

            def do_page(self, body: dict[str, Any], argument: str) -> None:
                self.refuse(200, "<html>Welcome to the proxy</html>", Content_Type="text/html")

            def do_garbage(self, body: dict[str, Any], argument: str) -> None:
                self.begin()
                self.send(argument or "no JSON {")
                self.end()

            def do_whole(self, body: dict[str, Any], argument: str) -> None:
                text = "".join(self.pieces(body))
                choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                self.refuse(
                    200, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}, Content_Type="application/json"
                )

            def do_hang(self, body: dict[str, Any], argument: str) -> None:
                time.sleep(float(argument))
                self.close_connection = True

            def do_reset(self, body: dict[str, Any], argument: str) -> None:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

            def do_cut(self, body: dict[str, Any], argument: str) -> None:
                self.begin()
                for piece in PIECES[: int(argument)]:
                    self.send_piece(body, piece)
                # What was sent arrives before the end does.
                time.sleep(0.02)
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

            def do_ends_early(self, body: dict[str, Any], argument: str) -> None:
                self.begin()
                self.send_piece(body, PIECES[0])
                self.end()

            def do_stall(self, body: dict[str, Any], argument: str) -> None:
                """Two pieces, then comments alone, which keep the connection open."""
                self.begin()
                for piece in PIECES[:2]:
                    self.send_piece(body, piece)
                for _ in range(int(float(argument) / 0.05)):
                    self.chunk(": still here\n\n")
                    time.sleep(0.05)
                self.close_connection = True

            def do_error_event(self, body: dict[str, Any], argument: str) -> None:
                self.begin()
                self.send_piece(body, PIECES[0])
                self.send(json.dumps({"error": "out of memory"}))
                self.end()

            def do_echo(self, body: dict[str, Any], argument: str) -> None:
                """The key that was sent, in every field, and once in two pieces."""
                key = self.headers["Authorization"].removeprefix("Bearer ")
                self.begin()
                for piece in (key[:7], key[7:], key):
                    choice = {"delta": {"content": piece}, "logprobs": {"content": [{"token": piece, "top_logprobs": [{"token": piece}]}]}}
                    self.send(json.dumps({"choices": [{**choice, "finish_reason": None}]}))
                self.send(json.dumps({"choices": [{"delta": {}, "finish_reason": key}], "usage": {key: 1}}))
                self.send("[DONE]")
                self.end()

            def do_no_usage(self, body: dict[str, Any], argument: str) -> None:
                self.do_answer(body, argument, usage=False)

            def do_lost_end(self, body: dict[str, Any], argument: str) -> None:
                """All of the answer and why it ended, but neither usage nor the end of the stream."""
                self.begin()
                for piece in self.pieces(body):
                    self.send_piece(body, piece)
                self.send_piece(body, "", finish="stop")
                time.sleep(0.02)
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

            def do_endless(self, body: dict[str, Any], argument: str) -> None:
                self.begin()
                while True:
                    self.send_piece(body, "more " * 20_000)

            def do_answer(self, body: dict[str, Any], argument: str, usage: bool = True) -> None:
                self.begin()
                pieces = [argument] if argument else self.pieces(body)
                for place, piece in enumerate(pieces):
                    self.send_piece(body, piece)
                    if piece_s and place < len(pieces) - 1:
                        time.sleep(piece_s)
                self.send_piece(body, "", finish="stop")
                if usage:
                    self.send(json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}))
                # Counted before the last byte: a client that records it can't be ahead of the count.
                with hostile._lock:
                    hostile.completed[self.asked(body), body.get("seed", -1)] += 1
                self.send("[DONE]")
                self.end()

            def asked(self, body: dict[str, Any]) -> str:
                return body["prompt"] if "prompt" in body else body["messages"][-1]["content"]

            def pieces(self, body: dict[str, Any]) -> list[str]:
                return [*PIECES, f" {self.asked(body)}", f" {body.get('seed')}"]

            def begin(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream; charset=utf-8")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

            def send_piece(self, body: dict[str, Any], piece: str, finish: str | None = None) -> None:
                choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
                choice |= {"text": piece} if "prompt" in body else {"delta": {"content": piece}}
                if body.get("logprobs") and piece and hostile.has_logprobs:
                    choice["logprobs"] = self.logprobs(body, piece)
                self.send(json.dumps({"choices": [choice]}))

            def logprobs(self, body: dict[str, Any], piece: str) -> dict[str, Any]:
                if "prompt" in body:
                    return {"tokens": [piece], "token_logprobs": [-0.5], "top_logprobs": [{piece: -0.5, "other": -1.5}]}
                others = [{"token": piece, "logprob": -0.5}, {"token": "other", "logprob": -1.5}]
                return {"content": [{"token": piece, "logprob": -0.5, "top_logprobs": others}]}

            def send(self, data: str) -> None:
                self.chunk(f"data: {data}\n\n")

            def chunk(self, text: str) -> None:
                data = text.encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()

            def end(self) -> None:
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@contextmanager
def hostile_server(piece_s: float = 0.0) -> Iterator[Hostile]:
    """A server; it waits `piece_s` between the pieces of an answer."""
    served = Hostile(piece_s)
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
