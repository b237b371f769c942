"""The proxy of the shadow phase: callers get what the teacher answers, whatever becomes of the student."""

import asyncio
import contextlib
import gzip
import json
import os
import socket
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
from edgedistill.gate.shadow.sequential import Sequential  # noqa: E402
from edgedistill.gate.shadow.serving import is_local, serving  # noqa: E402
from edgedistill.gate.shadow.student import Exchange, Paused, Student  # noqa: E402
from edgedistill.gate.shadow.tally import Tally  # noqa: E402

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
