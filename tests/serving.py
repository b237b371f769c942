"""A server of a repository of updates, for tests."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Served:
    """A repository that is served on the loopback address, with ranges; it cuts each answer after `cut` bytes, if that is set."""

    def __init__(self, folder: Path) -> None:
        served = self
        self.cut: int | None = None
        self.asked: list[str] = []
        self.starts: list[int] = []
        """Where each answer with a part of a file began."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, start = folder / self.path.lstrip("/"), 0
                served.asked.append(self.path)
                if not path.is_file():
                    self.send_error(404)
                    return
                data = path.read_bytes()
                if given := self.headers.get("Range"):
                    start = int(given.removeprefix("bytes=").removesuffix("-"))
                    served.starts.append(start)
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(data) - start))
                # Pages come from another origin.
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                end = len(data) if served.cut is None or not self.path.endswith(".zip") else start + served.cut
                self.wfile.write(data[start:end])
                if end < len(data):
                    # What was sent arrives before the end does.
                    self.wfile.flush()
                    time.sleep(0.005)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    served = Served(folder)
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
