"""The baseline of a teacher: what a service answers, breaks and costs, and what a teacher of the run scores."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import jsonschema
import numpy as np
import pytest
import yaml
from made_llm import fields

from edgedistill import UserError, baseline_teacher, load_recipe
from edgedistill.records.baseline import Baseline
from edgedistill.records.documents import documents
from edgedistill.steps import baseline
from edgedistill.tasks.causal_lm.example import exchange
from edgedistill.tasks.data import chosen
from edgedistill.tasks.requests import by_callers

ROWS = 120
KNOWN = dict(exchange(number) for number in range(ROWS))
PRICES = """
currency: EUR
teacher: {price: {per_million_input_tokens: 1.0, per_million_output_tokens: 4.0}}
usage: {requests_per_session: 10, sessions_per_user_month: 1, tokens_per_request: {input: 1, output: 1}}
distillation: {one_time: 1, months: 1}
"""


class _Service(BaseHTTPRequestHandler):
    """Answers rightly, but every fourth request by a text that is no JSON, and four of 20 in a row by an error; counts who asks at once."""

    asked: ClassVar = Counter[str]()
    at_once = most = 0
    lock = threading.Lock()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Answer by the number of the request."""
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        service = type(self)
        with service.lock:
            service.at_once += 1
            service.most = max(service.most, service.at_once)
            number = service.asked.total()
            service.asked[content["messages"][-1]["content"]] += 1
        try:
            self._answer(number, content)
        finally:
            with service.lock:
                service.at_once -= 1

    def _answer(self, number: int, content: dict) -> None:
        threading.Event().wait(0.02)
        failed = number % 20 in (4, 5, 6, 7)
        self.send_response(503 if failed else 200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if failed:
            return
        text = "sorry" if number % 4 == 3 else KNOWN[content["messages"][-1]["content"]]
        for delta, reason in (({"content": text}, None), ({}, "stop")):
            self._send({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
        self._send({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, part: dict) -> None:
        self.wfile.write(f"data: {json.dumps(part)}\n\n".encode())


@pytest.fixture
def url() -> Iterator[str]:
    """The service, on loopback."""
    _Service.asked.clear()
    _Service.most = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def _recipe(folder: Path, url: str) -> Path:
    made = fields(teacher={"endpoint": {"base_url": url, "model": "m"}})
    made["data"]["source"]["rows"] = ROWS
    made["data"]["split"] = {"val": 0.25, "holdout": 0.1}
    made["distill"]["stages"] = [{"name": "finetune", "epochs": 1, "losses": {"ce": {}}}]
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def test_a_service_is_measured_with_its_errors_its_format_and_its_price(tmp_path: Path, url: str) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    asked = {"callers": (1, 4), "requests": 20, "assumptions": tmp_path / "prices.yaml"}
    made = baseline_teacher(load_recipe(str(_recipe(tmp_path, url))), tmp_path / "runs", **asked)
    (teacher,) = made.teachers
    # One request makes ready, and none is tried again.
    assert _Service.asked.total() == 41
    assert _Service.most == 4
    assert teacher.where == url.removeprefix("http://").removesuffix("/v1")
    assert [(load.callers, load.requests, load.errors) for load in teacher.load] == [(1, 20, 4), (4, 20, 4)]
    assert "503" in str(teacher.load[0].error)
    assert all(20.0 < load.latency_ms.p50 < 2000 for load in teacher.load)
    assert teacher.load[1].answers_per_s > 1.5 * teacher.load[0].answers_per_s
    # Of the first load 16 were answered; the numbers 3, 11, 15, 19 of the service without JSON.
    assert {name: (score.correct, score.n) for name, score in teacher.answers.items()} == dict.fromkeys(
        ("exact", "valid", "tool", "arguments"), (12, 16)
    )
    kept = np.array(teacher.verdicts.kept["exact"])
    assert (len(set(teacher.verdicts.rows)), kept.sum()) == (16, 12)
    assert teacher.format_errors.n == 32
    assert teacher.format_errors.value == pytest.approx(8 / 32)
    assert teacher.score.unavailable.startswith("the teacher writes answers only")
    assert (teacher.cost.tokens.input, teacher.cost.tokens.output) == (100, 10)
    assert teacher.cost.session == pytest.approx(10 * (100 * 1 + 10 * 4) / 1e6)
    kept = tmp_path / "runs" / "tiny" / "baseline.json"
    assert Baseline.read(kept) == made
    jsonschema.validate(json.loads(kept.read_text()), documents()["baseline-teacher"].model_json_schema(mode="serialization"))


def test_the_teacher_of_a_run_scores_what_the_ladder_says_and_is_not_trained_again(tiny: Path) -> None:
    trained = (tiny / "runs/tiny/work/records/teacher.json").read_bytes()
    made = baseline_teacher(str(tiny / "tiny.yaml"), tiny / "runs", callers=(1, 2), requests=20).model_dump(mode="json")
    assert (tiny / "runs/tiny/work/records/teacher.json").read_bytes() == trained
    (teacher,) = made["teachers"]
    ladder = json.loads((tiny / "result.json").read_text())["ladder"]
    assert teacher["score"] == next(row["score"]["val"] for row in ladder if row["rung"] == "teacher")
    assert [load["callers"] for load in teacher["load"]] == [1, 2]
    assert all(load["errors"] == 0 and load["latency_ms"]["p95"] > 0 for load in teacher["load"])
    assert teacher["answers"] == {}
    assert "--assumptions" in teacher["cost"]["unavailable"]


def test_the_samples_that_are_asked_for_are_those_that_the_student_is_tried_on() -> None:
    data = SimpleNamespace(indices={"val": np.arange(1000, 1500)}, fields={})
    task = SimpleNamespace(tried=lambda recipe: 100)
    tried = chosen(data, "val", 100).tolist()
    assert len(set(tried)) == 100
    rows = baseline._asked(task, None, data, 64).tolist()
    assert len(set(rows)) == 64
    assert set(rows) < set(tried)
    # Where more are asked for, they are spread over val.
    assert np.array_equal(baseline._asked(task, None, data, 200), chosen(data, "val", 200))


def test_callers_ask_at_the_same_time_and_each_sample_once() -> None:
    together = threading.Barrier(4, timeout=10)

    def answer(row: int) -> tuple[int, None]:
        together.wait()
        if row == 5:
            raise ValueError("row 5")
        return row, None

    replies = by_callers(answer, np.arange(8), 4)
    assert sorted(reply.row for reply in replies) == list(range(8))
    assert [(reply.row, reply.error) for reply in replies if reply.error] == [(5, "ValueError: row 5")]
    assert all(reply.value == reply.row for reply in replies if not reply.error)


def test_a_mistake_in_the_recipe_is_no_error_of_a_request() -> None:
    def answer(row: int) -> tuple[int, None]:
        raise UserError("found no chat template")

    with pytest.raises(UserError, match="no chat template"):
        by_callers(answer, np.arange(8), 2)


@pytest.mark.parametrize(("asked", "said"), [({"callers": (0,)}, "from 1 to 512 callers"), ({"requests": 0}, "found 0 requests")])
def test_a_load_that_is_none_is_refused(tmp_path: Path, asked: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        baseline_teacher("quickstart", tmp_path, **asked)
    assert not list(tmp_path.iterdir())
