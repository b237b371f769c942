"""Holds `baseline-teacher` against a service whose delays, failures and broken answers are known.

    python benchmarks/advise/known_service.py

The service on loopback waits for a drawn time before it answers, refuses some requests and breaks the format of some answers. It notes
what each request took in its own process. docs/advise.md has the table that this prints.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np

from edgedistill import DeviceFailed, baseline_teacher, load_recipe
from edgedistill.records import Unavailable
from edgedistill.tasks.causal_lm.example import exchange

ROWS, REQUESTS, CALLERS = 1000, 200, (1, 4, 16)
FAILED, BROKEN = 0.05, 0.10
KNOWN = dict(exchange(number) for number in range(ROWS))


class Service(BaseHTTPRequestHandler):
    """Answers tool calls after 20 to 60 ms; one in twenty takes 150 ms."""

    protocol_version = "HTTP/1.1"
    seconds: ClassVar[list[float]] = []
    failed: ClassVar[list[bool]] = []
    broken: ClassVar[list[bool]] = []
    draws = random.Random(0)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer, fail, or break the format."""
        started = time.perf_counter()
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(0.15 if self.draws.random() < 0.05 else self.draws.uniform(0.02, 0.06))
        failed, broken = self.draws.random() < FAILED, self.draws.random() < BROKEN
        self.failed.append(failed)
        text = "no JSON" if broken else KNOWN[asked["messages"][-1]["content"]]
        parts = [{"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}]
        body = b"" if failed else b"".join(f"data: {json.dumps(part)}\n\n".encode() for part in parts) + b"data: [DONE]\n\n"
        self.send_response(503 if failed else 200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if not failed:
            self.broken.append(broken)
            self.seconds.append(time.perf_counter() - started)


class Server(ThreadingHTTPServer):
    """Lets as many connections wait as there are callers: a connection that is dropped is tried again after a second."""

    request_queue_size = 64


def main() -> None:
    """Print what the service did beside what the baseline says."""
    server = Server(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    llama = {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    recipe = {
        "name": "known", "task": "causal-lm", "targets": ["llm-linux"],
        "data": {
            "source": {"example": "tool-calls", "rows": ROWS}, "format": "tool-call", "tokenizer": {"vocabulary": 320}, "length": 88,
            "split": {"val": 0.3, "holdout": 0.1},
        },
        "teacher": {"endpoint": {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "model": "m"}},
        "student": {"config": llama},
        "distill": {"stages": [{"name": "finetune", "epochs": 1, "losses": {"ce": {}}}]},
    }  # fmt: skip
    print("| callers | p50 ms, service | p50 ms, baseline | p95 ms, service | p95 ms, baseline | errors, service | errors, baseline |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for callers in CALLERS:
        for counts in (Service.seconds, Service.failed, Service.broken):
            counts.clear()
        with tempfile.TemporaryDirectory() as folder:
            (teacher,) = baseline_teacher(load_recipe(recipe), Path(folder), callers=[callers], requests=REQUESTS).teachers
        # The first request makes ready.
        own, failed, broken = Service.seconds[-REQUESTS:], Service.failed[1:], Service.broken
        own_p50, own_p95 = (1e3 * float(np.quantile(own, q)) for q in (0.5, 0.95))
        (load,) = teacher.load
        if isinstance(load.latency_ms, Unavailable):
            raise DeviceFailed(load.latency_ms.unavailable)
        print(
            f"| {callers} | {own_p50:.1f} | {load.latency_ms.p50:.1f} | {own_p95:.1f} | {load.latency_ms.p95:.1f} | {sum(failed)} | "
            f"{load.errors} |"
        )
        print(f"{callers}: {sum(broken)} of {len(broken)} answers broken, {teacher.format_errors.value:.4f} measured", file=sys.stderr)
    server.shutdown()


if __name__ == "__main__":
    main()
