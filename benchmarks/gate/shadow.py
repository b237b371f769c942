"""What `edgedistill shadow` costs and how often it errs: `python benchmarks/gate/shadow.py proxy|load|test`.

proxy: what the proxy adds to an answer of a teacher that answers at once, without and with --record; requests to all take turns over
kept connections, and each process is measured by itself. load: 1,000 requests at 50 parallel while the student crashes. test: errors and
sample sizes of the sequential test, simulated.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

PATH, TURNS, REQUESTS, PARALLEL = "/v1/chat/completions", 3000, 1000, 50
TESTS = Path(__file__).parents[2] / "tests"
"""Has `made_student`, which answers in capitals, and crashes where it is asked to."""


async def teacher(scope: Any, receive: Any, send: Any) -> None:
    """Answers in capitals, at once."""
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message.get("more_body"):
            break
    said = json.loads(body)["messages"][-1]["content"]
    answer = json.dumps({"choices": [{"message": {"content": said.upper()}, "finish_reason": "stop"}]}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def serve_teacher() -> None:
    """Serve the teacher, and print its port."""
    from edgedistill.gate.shadow.serving import serving

    with serving(teacher, "127.0.0.1", 0) as server:
        print(server.port, flush=True)
        server.thread.join()


def serve_proxy(port: str, folder: str, record: str = "") -> None:
    """Serve the proxy of the teacher at `port`, print its own port, and what it saw when stdin ends. record: a file of traces."""
    from edgedistill.gate.shadow.observer import Observer
    from edgedistill.gate.shadow.proxy import Proxy
    from edgedistill.gate.shadow.recording import Recording
    from edgedistill.gate.shadow.sequential import Sequential
    from edgedistill.gate.shadow.serving import serving
    from edgedistill.gate.shadow.student import Exchange, Student
    from edgedistill.gate.shadow.tally import Tally

    job = Path(folder, "job.json")
    job.write_text("{}")
    tally = Tally(Path(folder, "seen"), {}, Sequential(0.05), 100)
    student = Student("made_student", job, Path(folder), timeout_s=60.0, restarted=lambda: setattr(tally, "restarts", tally.restarts + 1))
    student.start()
    observers, recording = [Observer(student.ask, tally, 256, lambda: None)], Recording(Path(record), scrubbed=False)
    if record:
        job.write_text(json.dumps({"path": record, "task": "causal-lm", "scrub": None}))
        recorder = Student("edgedistill.steps.shadow_record", job, Path(folder), timeout_s=60.0)
        recorder.start()
        observers.append(Observer(recorder.ask, recording, 256, lambda: None))

    def offer(exchange: Exchange) -> None:
        for observer in observers:
            observer.offer(exchange)

    with serving(Proxy(f"http://127.0.0.1:{port}", offer, local=True), "127.0.0.1", 0) as server:
        print(server.port, flush=True)
        sys.stdin.read()
    for observer in observers:
        observer.close()
    student.close()
    if record:
        recorder.close()
    print(tally.document("proxy", "teacher", "made", "", recording.told() if record else None).model_dump_json())


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """This script as a server, and its port."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, __file__, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def connected(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection: http.client.HTTPConnection, text: str) -> str:
    """The teacher's answer."""
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    connection.request("POST", PATH, body, {"Content-Type": "application/json", "Authorization": "Bearer sk-made-up"})
    return str(json.loads(connection.getresponse().read())["choices"][0]["message"]["content"])


def measure_proxy() -> None:
    """Print the times of the teacher, and of the teacher behind the proxy."""
    text = "What is the weather in Ulm today? " * 20
    with ExitStack() as stack:
        plain, recorded = (stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(2))
        behind, bare = stack.enter_context(started("serve-teacher"))
        one, port = stack.enter_context(started("serve-proxy", str(bare), plain))
        other, recording = stack.enter_context(started("serve-proxy", str(bare), recorded, str(Path(recorded, "traces.jsonl"))))
        places = {"teacher": connected(bare), "proxy": connected(port), "recording proxy": connected(recording)}
        processes = {name: psutil.Process(each.pid) for name, each in zip(places, (behind, one, other), strict=True)}
        times: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(100):
            assert ask(places["proxy"], text) == ask(places["recording proxy"], text) == ask(places["teacher"], text)
        used = {name: sum(each.cpu_times()[:2]) for name, each in processes.items()}
        for turn in range(TURNS):
            for name in list(places)[:: 1 if turn % 2 else -1]:
                begun = time.perf_counter()
                ask(places[name], text)
                times[name].append(1e3 * (time.perf_counter() - begun))
        used = {name: 1e3 * (sum(each.cpu_times()[:2]) - used[name]) / TURNS for name, each in processes.items()}
        told = json.loads(other.communicate("")[0])["recorded"]
    for name, values in times.items():
        p10, p50, p95 = (sorted(values)[int(share * TURNS)] for share in (0.1, 0.5, 0.95))
        print(f"{name}: p10 {p10:.2f} ms, p50 {p50:.2f} ms, p95 {p95:.2f} ms")
        if name != "teacher":
            added = statistics.median(proxy - plain for plain, proxy in zip(times["teacher"], values, strict=True))
            print(f"added: p50 {p50 - statistics.median(times['teacher']):.2f} ms, median of pairs {added:.2f} ms")
            print(f"processor time of its process: {used[name]:.2f} ms a request")
    # The teacher answers all, three times a turn.
    print(f"processor time of the teacher: {used['teacher'] / 3:.2f} ms a request")
    print(f"recorded: {told['written']} of {TURNS + 100}, dropped {told['dropped']}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def measure_load() -> None:
    """Print how many of the answers arrived."""
    texts = [f"crash {number}" if number % 50 == 3 else f"text {number}" for number in range(REQUESTS)]
    local = threading.local()
    with (
        tempfile.TemporaryDirectory() as folder,
        started("serve-teacher") as (_, bare),
        started("serve-proxy", str(bare), folder) as (
            process,
            port,
        ),
    ):

        def one(text: str) -> bool:
            if not hasattr(local, "connection"):
                local.connection = connected(port)
            return ask(local.connection, text) == text.upper()

        begun = time.perf_counter()
        with ThreadPoolExecutor(PARALLEL) as pool:
            right = sum(pool.map(one, texts))
        took = time.perf_counter() - begun
        out, _ = process.communicate("")
        seen = json.loads(out)
    print(f"{right} of {REQUESTS} answers right at {PARALLEL} parallel, in {took:.1f} s")
    print(f"the student compared {seen['n']}, dropped {seen['dropped']}, restarts {seen['restarts']}, {seen['why']}")


def measure_test(runs: int = 10_000, looks: int = 10_000) -> None:
    """Print errors at the tolerance, and sample sizes below it, of tests that look after each observation."""
    import numpy as np
    from scipy.special import betaln
    from scipy.stats import binom

    from edgedistill.gate.shadow.sequential import Sequential

    counts, rng = np.arange(1, looks + 1), np.random.default_rng(0)
    for tolerance in (0.02, 0.05, 0.1):
        test = Sequential(tolerance)
        a, b = test._prior
        base = betaln(a, b)
        for share in (0, 0.25, 0.5, 0.75, 1, 1.5, 2):
            inside, outside, naive, sizes = 0, 0, 0, []
            for _ in range(runs if share == 1 else 1000):
                k = np.cumsum(rng.random(looks) < share * tolerance)
                evidence = betaln(a + k, b + counts - k) - base - k * math.log(tolerance) - (counts - k) * math.log1p(-tolerance)
                hits = np.flatnonzero(evidence >= -math.log(test.alpha))
                inside += bool((k[hits] < tolerance * counts[hits]).any())
                outside += bool((k[hits] >= tolerance * counts[hits]).any())
                sizes.append(int(hits[0]) + 1 if len(hits) else looks)
                # A one-sided exact test of 5% that is repeated each 10 observations.
                naive += bool((binom.cdf(k[9::10], counts[9::10], tolerance) <= 0.05).any()) if share == 1 else 0
            n = len(sizes)
            p50, p90 = np.quantile(sizes, (0.5, 0.9))
            repeated = f", a repeated binomial test {naive / n:.1%}" if share == 1 else ""
            print(
                f"tolerance {tolerance:g}, true rate {share * tolerance:g}: inside {inside / n:.1%}, outside {outside / n:.1%} of {n:,} "
                f"runs of {looks:,} looks{repeated}; decided after {p50:.0f} (median), {p90:.0f} (90%)"
            )


if __name__ == "__main__":
    parts = {"proxy": measure_proxy, "load": measure_load, "test": measure_test, "serve-teacher": serve_teacher, "serve-proxy": serve_proxy}
    parts[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
