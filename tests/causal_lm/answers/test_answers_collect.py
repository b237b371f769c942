"""Collections: what is paid, what is paid twice, and what is kept."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Container, Generator, Iterator, Sequence
from pathlib import Path

import pytest
from collecting import CONCURRENCY, SAMPLING, prompts, run
from hostile import Hostile, hostile_server

from edgedistill import progress
from edgedistill.errors import StorageFailed, UserError
from edgedistill.tasks.causal_lm.answers.asking import Answer, Prompt, Usage
from edgedistill.tasks.causal_lm.answers.collect import collect, kept
from edgedistill.tasks.causal_lm.answers.ledger import Ledger, opened
from edgedistill.tasks.causal_lm.answers.recipe import Checks, Sampling

KEY = "sk-secret-0123456789abcdef"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setenv("TEACHER_KEY", KEY)
    with hostile_server(0.02) as served:
        yield served


class Parrot:
    """An asker that repeats the prompt with the number of the sample, and notes what it was asked."""

    model, top_logprobs = "parrot", None

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.breaks_after: int | None = None

    def ask(self, prompts: Sequence[Prompt], sampling: Sampling, answered: Container[tuple[str, int]] = frozenset()) -> Generator[Answer]:
        for prompt in prompts:
            for sample in range(sampling.samples):
                if (prompt.key, sample) in answered:
                    continue
                if self.breaks_after is not None and len(self.asked) == self.breaks_after:
                    raise UserError("refused")
                self.asked.append((prompt.text or "", sample))
                yield Answer(prompt.key, sample, f"{prompt.text} {sample}", True, "stop", Usage(1, 2), 0.0, "now", "local")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened(tmp_path / "answers.db") as made:
        yield made


def texts(ledger: Ledger, keys: list[str] | None = None) -> list[str]:
    return sorted(text for _, text, _ in kept(ledger, keys))


ONE, TWO, THREE = (Prompt(text=name) for name in ("one", "two", "three"))


def test_only_what_is_missing_is_asked(ledger: Ledger) -> None:
    parrot, checks = Parrot(), Checks(duplicates=9)
    first = collect([ONE, TWO, ONE], parrot, Sampling(samples=2), checks, ledger)
    assert (first.prompts, first.recorded, first.answered, first.kept, first.prompt_tokens, first.completion_tokens) == (2, 0, 4, 4, 4, 8)
    parrot.asked.clear()
    second = collect([ONE, TWO, THREE], parrot, Sampling(samples=3), checks, ledger)
    assert parrot.asked == [("one", 2), ("two", 2), ("three", 0), ("three", 1), ("three", 2)]
    assert (second.recorded, second.answered, second.unanswered) == (4, 5, 0)
    parrot.asked.clear()
    # Fewer samples, and fewer prompts.
    assert collect([ONE], parrot, Sampling(samples=1), checks, ledger).kept == 1
    assert parrot.asked == []
    assert texts(ledger, [ONE.key]) == ["one 0"]
    # Another sampling is another answer.
    collect([ONE], parrot, Sampling(samples=1, temperature=0.5), checks, ledger)
    assert parrot.asked == [("one", 0)]


def test_other_checks_judge_again_and_ask_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    # Verdicts are stored in parts.
    monkeypatch.setattr("edgedistill.tasks.causal_lm.answers.collect._AT_ONCE", 2)
    parrot = Parrot()
    collect([ONE, TWO], parrot, Sampling(samples=2), Checks(), ledger)
    parrot.asked.clear()
    counts = collect([ONE, TWO], parrot, Sampling(samples=2), Checks(policy=["1", "two"], characters={"min": 6}), ledger)
    assert (parrot.asked, counts.kept, counts.dropped) == ([], 0, {"characters": 4})
    counts = collect([ONE, TWO], parrot, Sampling(samples=2), Checks(policy=["1", "two"]), ledger)
    assert (counts.kept, counts.dropped, texts(ledger)) == (1, {"policy": 3}, ["one 0"])
    ((key, text, provenance),) = kept(ledger)
    assert (key, text, provenance.model, provenance.sample, provenance.sampling["max_tokens"]) == (ONE.key, "one 0", "parrot", 0, 512)


def test_what_was_answered_before_an_error_is_recorded(ledger: Ledger) -> None:
    parrot = Parrot()
    parrot.breaks_after = 3
    with pytest.raises(UserError, match="refused"):
        collect([ONE, TWO], parrot, Sampling(samples=2), Checks(), ledger)
    with pytest.raises(UserError, match="found no collection that has ended; collect the teacher's answers first"):
        list(kept(ledger))
    parrot.breaks_after = None
    assert collect([ONE, TWO], parrot, Sampling(samples=2), Checks(), ledger).recorded == 3
    assert len(parrot.asked) == 4


def test_a_full_disk_stops_asking(server: Hostile, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageFailed("the disk is full")

    monkeypatch.setattr(Ledger, "append", full)
    with pytest.raises(StorageFailed):
        run(ledger.path, server.url, 50)
    time.sleep(0.3)
    # What cannot be recorded is not paid: only what was on its way.
    assert len(server.bodies) <= 2 * CONCURRENCY


def test_a_collection_from_a_server_that_misbehaves(server: Hostile, ledger: Ledger) -> None:
    server.plan = ["cut 2", "status 500", "garbage", "status 429 0.05", "page", "reset", "error-event", "stall 0.1"]
    counts = run(ledger.path, server.url, 10)
    # garbage began a stream too.
    assert (counts.answered, counts.unanswered, counts.partial, counts.kept) == (20, 0, 4, 20)
    assert server.completed.total() == 20
    assert ledger.spent("teacher").prompt_tokens == 7 * 24
    answered = len(server.bodies)
    counts = run(ledger.path, server.url, 10)
    assert (counts.recorded, counts.answered, counts.kept, len(server.bodies)) == (20, 0, 20, answered)


def test_progress_where_the_first_attempt_breaks(
    server: Hostile, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    server.plan = ["cut 2"] * CONCURRENCY
    assert run(ledger.path, server.url, 2).answered == 4
    assert "answers: 4/4, " in capfd.readouterr().err


def recorded(ledger: Path) -> Counter[tuple[str, int]]:
    """Complete answers by the words of the prompt and the seed, read as another program would."""
    names = {prompt.key: f"prompt {number}" for number, prompt in enumerate(prompts(200))}
    with sqlite3.connect(ledger) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT key, sample, text FROM answers WHERE complete").fetchall()
    for key, sample, text in rows:
        assert text == f"An answer in pieces. {names[key]} {sample}"
    return Counter((names[key], sample) for key, sample, _ in rows)


def test_killed_at_random_moments_nothing_recorded_is_paid_again(server: Hostile, tmp_path: Path) -> None:
    path, draw, prompts_count = tmp_path / "answers.db", random.Random(1), 24
    output, kills, lost_before = "", 0, 0
    while True:
        before = recorded(path) if path.exists() else Counter()
        asked_before = len(server.bodies)
        folders = [str(Path(__file__).parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        with subprocess.Popen(
            [sys.executable, Path(__file__).with_name("collecting.py"), path, server.url, str(prompts_count)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        ) as process:  # fmt: skip
            assert process.stdout is not None
            if kills < 3:
                # From the first request on, so that each kill hits answers on their way.
                while len(server.bodies) == asked_before and process.poll() is None:
                    time.sleep(0.005)
                time.sleep(draw.uniform(0.05, 0.5))
                process.send_signal(signal.SIGKILL)
                kills += 1
            output += process.stdout.read()
        # What the server still sends to a connection that is gone.
        while server.at_once:
            time.sleep(0.01)
        asked = [(body["messages"][-1]["content"], body["seed"]) for body in server.bodies[asked_before:]]
        assert not before.keys() & set(asked), "an answer that was recorded is asked again"
        now = recorded(path)
        assert set(now.values()) <= {1}
        assert not now.keys() - server.completed.keys()
        lost = server.completed.total() - now.total()
        assert 0 <= lost - lost_before <= CONCURRENCY, "more is lost than was on its way"
        lost_before = lost
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, output
    assert kills == 3
    assert now.total() == prompts_count * SAMPLING.samples
    # Each answer that was completed is in the ledger, or was on its way at a kill.
    assert server.completed.total() == now.total() + lost
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()
    assert KEY not in output
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)


@pytest.mark.parametrize("recorded_before", [False, True])
def test_an_interrupt_while_an_answer_is_recorded_loses_none(
    server: Hostile, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, recorded_before: bool
) -> None:
    append, calls = Ledger.append, []

    def interrupted(self: Ledger, answer: Answer, model: str, sampling: str) -> None:
        calls.append(answer)
        if len(calls) != 4:
            append(self, answer, model, sampling)
            return
        # The others are answered meanwhile, and wait.
        time.sleep(0.3)
        if recorded_before:
            append(self, answer, model, sampling)
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(ledger.path, server.url, 50)
    assert len(calls) < 12
    assert recorded(ledger.path).total() == server.completed.total() >= 6


def test_an_interrupt_ends_a_collection_soon(server: Hostile, tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    command = [sys.executable, Path(__file__).with_name("collecting.py"), path, server.url, "100"]
    server.plan = ["answer"] * 9 + ["stall 5"] * CONCURRENCY
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while len(server.bodies) < 12:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, said = process.communicate(timeout=30)
    assert time.monotonic() - started < 2
    assert said.strip().endswith("KeyboardInterrupt")
    # What was whole is recorded, and of what was not, the beginning.
    with opened(path) as ledger:
        spent = ledger.spent("teacher")
    assert spent.answers == recorded(path).total() == server.completed.total()
    assert (spent.answers, spent.partial) == (9, CONCURRENCY)
    assert KEY not in said
