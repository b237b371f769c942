"""A whole distillation whose teacher is a service: it writes answers and tells nothing else."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import edgedistill
from made_llm import fields

from edgedistill.tasks.causal_lm.example import exchange

KNOWN = dict(exchange(number) for number in range(120))


class _Service(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer a chat by the tool call of the example."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        text = KNOWN[asked["messages"][-1]["content"]]
        for delta, reason in (({"content": text}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")


@pytest.fixture
def url() -> Iterator[str]:
    """The service, on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_service_teaches_a_student(tmp_path: Path, url: str) -> None:
    made = fields(teacher={"endpoint": {"base_url": url, "model": "m"}, "answers": {"keep_data": False}})
    made["data"]["source"]["rows"] = 120
    made["distill"]["stages"] = [{"name": "finetune", "epochs": 1, "losses": {"ce": {}}}]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(made))
    done = edgedistill("distill", "tiny.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs/tiny/summary.json").read_text())
    assert [rung["rung"] for rung in summary["ladder"]] == ["student"]
    assert summary["teacher"]["model"] == "m"
    answers = json.loads((tmp_path / "runs/tiny/work/records/answers.json").read_text())["result"]
    assert answers["kept"] == answers["prompts"] == answers["answered"]
