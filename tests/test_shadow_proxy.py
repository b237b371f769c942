"""The proxy of the shadow phase: callers get what the teacher answers, whatever becomes of the student."""

import asyncio
import contextlib
import gzip
import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

httpx2 = pytest.importorskip("httpx2")
pytest.importorskip("uvicorn")

from edgedistill.errors import DeviceFailed, UserError  # noqa: E402
from edgedistill.gate.shadow.observer import Observer  # noqa: E402
from edgedistill.gate.shadow.proxy import Proxy  # noqa: E402
from edgedistill.gate.shadow.recording import Recording  # noqa: E402
from edgedistill.gate.shadow.sequential import Sequential  # noqa: E402
from edgedistill.gate.shadow.serving import is_local, serving  # noqa: E402
from edgedistill.gate.shadow.student import Exchange, Paused, Student  # noqa: E402
from edgedistill.gate.shadow.tally import Tally  # noqa: E402
from edgedistill.recipe.scrub import Scrub  # noqa: E402
from edgedistill.steps.shadow_record import Writing  # noqa: E402
from edgedistill.tasks.causal_lm.exchanges import trace  # noqa: E402
from edgedistill.teach.scrub import scrubbing  # noqa: E402
from edgedistill.teach.scrub.base import Finding  # noqa: E402

CHATS = "/v1/chat/completions"
KEY = "sk-0123456789abcdef"


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


class Teacher:
    """An ASGI application that answers chats in capitals, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], bytes]] = []
        self.go_on = threading.Event()
        self.left = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.asked.append((scope, body))
        said = json.loads(body)["messages"][-1]["content"] if scope["path"] == CHATS else ""
        packed, headers, status = json.dumps({"choices": [{"message": {"content": said.upper()}}]}).encode(), [], 200
        if scope["path"] != CHATS:
            packed, headers, status = gzip.compress(b"odd"), [(b"content-encoding", b"gzip"), (b"X-Two", b"1"), (b"X-Two", b"2")], 418
        headers += [(b"set-cookie", b"who=first"), (b"location", b"http://elsewhere/")]
        if "stream" in said:
            headers.append((b"content-type", b"text/event-stream"))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            gone = asyncio.ensure_future(receive())
            while not self.go_on.is_set() and not gone.done():
                await asyncio.sleep(0.01)
            if gone.done():
                self.left.set()
                return
            if "break" in said:
                raise OSError("the teacher crashed")
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
            return
        headers.append((b"content-length", str(len(packed)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": packed})


@contextlib.contextmanager
def proxied(offer: Callable[[Exchange], None] = lambda exchange: None, *, local: bool = True) -> Iterator[tuple[Teacher, str, str]]:
    """A teacher, its URL, and that of a proxy."""
    teacher: Any = Teacher()
    with serving(teacher, "127.0.0.1", 0) as behind:
        url = f"http://127.0.0.1:{behind.port}"
        with serving(Proxy(url, offer, local=local), "127.0.0.1", 0) as proxy:
            yield teacher, url, f"http://127.0.0.1:{proxy.port}"


def raw(url: str, request: bytes) -> bytes:
    """What comes back over the wire for a request that closes its connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_requests_and_answers_go_through_byte_for_byte() -> None:
    seen: list[Exchange] = []
    with proxied(seen.append) as (teacher, url, proxy):
        lines = b"PUT /v1/odd%2Fpath?a=%20b&a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\nX-A: 1\r\nX-A: 2\r\n"
        answers = [raw(place, lines + f"Authorization: Bearer {KEY}\r\nCookie: a=b\r\n\r\nabc".encode()) for place in (url, proxy)]
        assert answers[0] == answers[1]
        assert answers[0].startswith(b"HTTP/1.1 418")
        assert answers[0].endswith(gzip.compress(b"odd"))
        (first, body), (second, same) = teacher.asked
        assert body == same == b"abc"
        for part in ("method", "raw_path", "query_string"):
            assert first[part] == second[part]
        hidden = {b"host", b"connection"}
        ours, theirs = ([pair for pair in scope["headers"] if pair[0] not in hidden] for scope in (first, second))
        assert sorted(ours) == sorted(theirs)
        assert dict(second["headers"])[b"host"] == url.removeprefix("http://").encode()
        # Cookies of one caller are not another's.
        assert b"cookie" not in dict(httpx2.post(proxy + CHATS, json=chat("x")) and teacher.asked[-1][0]["headers"])
    (one,) = seen
    assert (json.loads(one.request), json.loads(one.response)) == (chat("x"), {"choices": [{"message": {"content": "X"}}]})
    assert one.ms is not None
    assert KEY not in repr(one)


def test_a_stream_comes_through_as_it_is_written_and_is_observed_at_its_end() -> None:
    seen: list[Exchange] = []
    with proxied(seen.append) as (teacher, _, proxy), httpx2.Client() as client:
        with client.stream("POST", proxy + CHATS, json=chat("stream")) as response:
            parts = response.iter_raw()
            assert next(parts) == b"data: 1\n\n"
            assert not seen
            teacher.go_on.set()
            assert b"".join(parts) == b"data: [DONE]\n\n"
        _until(lambda: bool(seen))
    assert (seen[0].response, seen[0].type) == (b"data: 1\n\ndata: [DONE]\n\n", "text/event-stream")


def test_a_caller_who_has_gone_ends_the_request_to_the_teacher() -> None:
    seen: list[Exchange] = []
    with proxied(seen.append) as (teacher, _, proxy), httpx2.Client() as client:
        with client.stream("POST", proxy + CHATS, json=chat("stream")) as response:
            next(response.iter_raw())
        _until(teacher.left.is_set)
    assert not seen


def test_a_teacher_who_breaks_off_or_is_down_is_told_as_that() -> None:
    seen: list[Exchange] = []
    with proxied(seen.append) as (teacher, _, proxy):
        teacher.go_on.set()
        with pytest.raises(httpx2.RemoteProtocolError):
            httpx2.post(proxy + CHATS, json=chat("stream and break"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(Proxy(f"http://127.0.0.1:{port}", seen.append, local=True), "127.0.0.1", 0) as proxy_:
        answer = httpx2.post(f"http://127.0.0.1:{proxy_.port}{CHATS}", json=chat("x"), headers={"Authorization": KEY})
        assert (answer.status_code, answer.json()["error"]["type"]) == (502, "shadow_proxy")
        assert KEY not in answer.text
        with (
            pytest.raises(UserError, match="no free address"),
            serving(Proxy("http://h", seen.append, local=True), "127.0.0.1", proxy_.port),
        ):
            pass
    assert not seen


def test_a_page_that_names_another_host_is_refused_on_loopback() -> None:
    with proxied() as (teacher, _, proxy):
        for host, status in (("evil.example", 403), ("evil.example:8787", 403), ("localhost:8787", 200), ("[::1]", 200)):
            assert httpx2.post(proxy + CHATS, json=chat("x"), headers={"Host": host}).status_code == status
        assert len(teacher.asked) == 2
    with proxied(local=False) as (_, _, proxy):
        assert httpx2.post(proxy + CHATS, json=chat("x"), headers={"Host": "ours.example"}).status_code == 200
    assert [is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.1", "host")] == [True] * 3 + [False] * 3


@pytest.fixture
def student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Student]]:
    """Starts students of `made_student`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    made: list[Student] = []

    def start(job: Any = None, timeout_s: float = 60.0, **options: Any) -> Student:
        (tmp_path / "job.json").write_text(json.dumps(job or {}))
        made.append(Student("made_student", tmp_path / "job.json", tmp_path, timeout_s=timeout_s, **options))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close()


def exchange(text: str, answer: str = "") -> Exchange:
    response = {"choices": [{"message": {"content": answer or text.upper()}}]}
    return Exchange(text, json.dumps(chat(text)).encode(), json.dumps(response).encode(), ms=7.0)


def test_a_student_that_crashes_hangs_or_talks_nonsense_is_started_again(student: Callable[..., Student]) -> None:
    restarts: list[int] = []
    one = student(timeout_s=0.5, pauses_s=(0.0,), restarted=lambda: restarts.append(1))
    one._timeout_s = 60.0
    assert one.ask(exchange("well"))["compared"]["agrees"]
    assert one.ask(exchange("crash")) == {"no_answer": "its process ended with exit status -11"}
    assert one.ask(exchange("well"))["compared"]["student"] == "WELL"
    assert one.ask(exchange("nonsense")) == {"no_answer": "its process printed what is no answer"}
    one.ask(exchange("well"))
    one._timeout_s = 0.2
    assert one.ask(exchange("hang")) == {"no_answer": "its process gave no answer within 0.2 s"}
    assert len(restarts) == 2


def test_a_student_that_fails_in_a_row_is_left_alone_for_a_while(student: Callable[..., Student]) -> None:
    one = student(pauses_s=(0.0, 60.0))
    for _ in range(2):
        assert "no_answer" in one.ask(exchange("crash"))
    with pytest.raises(Paused):
        one.ask(exchange("well"))


def test_a_student_that_does_not_start_is_told(student: Callable[..., Student], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such schema"):
        student({"mistake": "no such schema"})
    (tmp_path / "job.json").write_text("{")
    with pytest.raises(DeviceFailed, match=r"ended with exit status 1 \(json.decoder.JSONDecodeError"):
        Student("made_student", tmp_path / "job.json", tmp_path, timeout_s=1.0).start()


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_request_is_lost_while_the_student_crashes(student: Callable[..., Student], tmp_path: Path, count: int) -> None:
    one = student()
    tally = Tally(tmp_path / "seen", {"of": "a test"}, Sequential(0.05), 10)
    observer = Observer(one.ask, tally, 20, lambda: None)
    texts = [f"crash {number}" if number % 50 == 3 else f"text {number}" for number in range(count)]

    async def ask_all(url: str) -> list[str]:
        gate = asyncio.Semaphore(50)
        async with httpx2.AsyncClient(timeout=120, limits=httpx2.Limits(max_connections=50)) as client:

            async def ask(text: str) -> str:
                async with gate:
                    answer = await client.post(url + CHATS, json=chat(text), headers={"Authorization": f"Bearer {KEY}"})
                    return str(answer.json()["choices"][0]["message"]["content"])

            return await asyncio.gather(*map(ask, texts))

    with proxied(observer.offer) as (_, _, proxy):
        assert asyncio.run(ask_all(proxy)) == [text.upper() for text in texts]
    observer.close()
    document = tally.document("proxy", "http://teacher", "made", "0" * 64)
    assert document.n + document.dropped == count
    assert document.n > 20
    assert document.why.keys() <= {"no answer"}
    tally.close()
    for path in (tmp_path / "seen").iterdir():
        assert KEY not in path.read_text()


def test_a_shadow_that_fails_leaves_the_proxy_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(given: Exchange) -> dict[str, Any]:
        raise OSError("the disk is full")

    tally = Tally(tmp_path, {}, Sequential(0.05), 0)
    observer = Observer(fail, tally, 5, lambda: None)
    for _ in range(2):
        observer.offer(exchange("x"))
        _until(observer._queue.empty)
    _until(lambda: tally.dropped == 2)
    observer.close()
    assert capsys.readouterr().err.count("the disk is full") == 1
    assert tally.n == 0


def events(*pieces: str) -> bytes:
    parts = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    return "".join(f"data: {json.dumps(part)}\n\n" for part in parts).encode() + b"data: [DONE]\n\n"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_recorded_exchanges_are_traces_and_hold_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new/traces.jsonl"
    path.parent.mkdir()
    # A process was killed while it wrote the last line.
    path.write_text('{"prompt": "a", "answer": "b"}\n{"prompt": "hal')
    write = Writing(path, "causal-lm", None)
    given = chat("hello", model="m", user="42", max_tokens=9, tools=[{"type": "function"}], metadata={"key": KEY})
    whole = json.dumps({"id": "1", "choices": [{"message": {"content": "HELLO"}, "finish_reason": "stop"}]}).encode()
    asked = [
        Exchange("1", json.dumps(given).encode(), whole, ms=7.5),
        Exchange("2", json.dumps(chat("é")).encode(), gzip.compress(events("É", "!")), "text/event-stream", "gzip"),
        Exchange("3", json.dumps(chat("x", n=3)).encode(), whole),
    ]
    assert [write(one.told()) for one in asked] == [{"written": True}] * 2 + [{"left_out": "the request asks for several answers"}]
    assert lines(path) == [
        {"prompt": "a", "answer": "b"},
        {"messages": chat("hello")["messages"], "answer": "HELLO", "max_tokens": 9, "ms": 7.5},
        {"messages": chat("é")["messages"], "answer": "É!", "ms": None},
    ]
    # A replay reads them.
    request, response = trace(lines(path)[1])
    assert request["messages"] == chat("hello")["messages"]  # type: ignore[index, call-overload]
    assert response["choices"][0]["message"]["content"] == "HELLO"  # type: ignore[index, call-overload]
    new = tmp_path / "other.jsonl"
    Writing(new, "causal-lm", None)
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--record: .* can't be written"):
        Writing(tmp_path / "file/t.jsonl", "causal-lm", None)


def test_what_is_recorded_is_scrubbed_or_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.compile(r"[\w.]+@[\w.]+")

    class Mails:
        """An engine that is loaded in a moment."""

        def identity(self, config: Scrub) -> str:
            return "mails"

        def load(self, config: Scrub) -> Any:
            return self

        def find(self, text: str, context: str | None) -> list[Finding]:
            return [Finding(match.start(), match.end(), "email") for match in found.finditer(text)]

    monkeypatch.setattr(scrubbing, "engine", lambda config: Mails())
    (tmp_path / "key").write_bytes(b"k" * 32)
    write = Writing(tmp_path / "t.jsonl", "causal-lm", Scrub(names=[], key=tmp_path / "key"))
    call = json.dumps({"name": "mail", "arguments": {"to": "jane.roe@corp.example"}})
    assert write(exchange("Mail jane.roe@corp.example", call).told()) == {"written": True}
    (row,) = lines(tmp_path / "t.jsonl")
    assert "jane" not in json.dumps(row)
    name = row["messages"][0]["content"].removeprefix("Mail ")
    assert name.startswith("[EMAIL_")
    assert json.loads(row["answer"]) == {"name": "mail", "arguments": {"to": name}}
    # Whatever the engine raises, the text is not written.
    assert write._scrubbing is not None
    monkeypatch.setattr(write._scrubbing._scrubber, "find", lambda text, context: 1 / 0)
    assert write(exchange("Mail jane.roe@corp.example").told()) == {"left_out": "not scanned for personal data (ZeroDivisionError)"}
    assert len(lines(tmp_path / "t.jsonl")) == 1


def test_a_recorder_that_fails_leaves_the_proxy_alone(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "t.jsonl", scrubbed=True)
    found: list[dict[str, Any]] = [{"written": True}, {"left_out": "odd"}, {"no_answer": "its process ended"}]

    def write(given: Exchange) -> dict[str, Any]:
        if not found:
            raise OSError("the disk is full")
        return found.pop(0)

    observer = Observer(write, recording, 100, lambda: None, "recording")
    with proxied(observer.offer) as (_, _, proxy):
        for _ in range(4):
            assert httpx2.post(proxy + CHATS, json=chat("x")).json()["choices"][0]["message"]["content"] == "X"
        _until(lambda: recording.told().dropped == 1)
    observer.close()
    told = recording.told()
    assert (told.written, told.not_written, told.dropped, told.scrubbed) == (1, {"odd": 1, "its process ended": 1}, 1, True)


def test_what_waits_is_bounded_in_number_and_in_bytes(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slow(given: Exchange) -> dict[str, Any]:
        go_on.wait(60)
        return {"not_compared": "slow"}

    tally = Tally(tmp_path, {}, Sequential(0.05), 0)
    observer = Observer(slow, tally, 3, lambda: None)
    observer.offer(exchange("first"))
    _until(observer._queue.empty)
    observer.offer(Exchange("huge", b"", b"x" * (65 << 20)))
    assert tally.dropped == 1
    for number in range(5):
        observer.offer(exchange(str(number)))
    assert tally.dropped == 3
    threading.Timer(0.2, go_on.set).start()
    observer.close()
    # Those that waited at the end are dropped too.
    assert tally.document("proxy", "", "", "").not_compared == {"slow": 1}
    assert tally.dropped == 6


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
