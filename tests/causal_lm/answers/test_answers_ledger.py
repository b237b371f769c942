"""The ledger of paid answers: whole after a kill, nothing twice, nothing changed."""

import dataclasses
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedistill.errors import DamagedFile, StorageFailed, UserError
from edgedistill.tasks.causal_lm.answers.asking import Answer, Prompt, Usage, identity
from edgedistill.tasks.causal_lm.answers.ledger import Collection, Ledger, opened
from edgedistill.tasks.causal_lm.answers.recipe import Sampling

SAID = Answer("key", 0, "said", True, "stop", Usage(7, 5), 0.25, "2026-01-01T00:00:00.000+00:00", "host:1")
WRITER = """
import dataclasses, sys
from pathlib import Path
from edgedistill.tasks.causal_lm.answers.ledger import opened
from test_answers_ledger import SAID

with opened(Path(sys.argv[1])) as ledger:
    done = len(ledger.answered("m", "s"))
    for number in range(done, 100_000):
        ledger.append(dataclasses.replace(SAID, sample=number, text=f"{number} " * 200), "m", "s")
        print(number, flush=True)
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened(tmp_path / "deep" / "answers.db") as made:
        yield made


def test_an_answer_comes_back_as_it_was(tmp_path: Path) -> None:
    logprobs = [{"token": "s\ud800", "logprob": -0.5, "bytes": [115], "top_logprobs": [{"token": "t", "logprob": -1.5}]}]
    answer = dataclasses.replace(SAID, text="a\x00b é 😀\n", top_logprobs=logprobs)
    with opened(tmp_path / "answers.db") as ledger:
        ledger.append(answer, "m", "s")
    with opened(tmp_path / "answers.db") as ledger:
        assert [found for _, found in ledger.of_prompt("key", "m", "s", 1)] == [answer]


def test_half_a_surrogate_pair_is_stored(ledger: Ledger) -> None:
    ledger.append(dataclasses.replace(SAID, text="a\ud83d\ude00b\ud800c"), "m", "s")
    ((_, found),) = ledger.of_prompt("key", "m", "s", 1)
    assert found.text == "a😀b\ufffdc"


def test_a_complete_answer_is_recorded_once_and_partial_ones_besides(ledger: Ledger) -> None:
    partial = dataclasses.replace(SAID, complete=False, finish_reason=None, usage=Usage(None, 3, True))
    for answer in (partial, partial, SAID):
        ledger.append(answer, "m", "s")
    with pytest.raises(ValueError, match="answered already"):
        ledger.append(SAID, "m", "s")
    ledger.append(SAID, "another model", "s")
    ledger.append(SAID, "m", "another sampling")
    assert ledger.answered("m", "s") == {("key", 0)}
    assert [answer for _, answer in ledger.of_prompt("key", "m", "s", 9)] == [SAID]


def test_cost_counts_what_was_cut_off(ledger: Ledger) -> None:
    ledger.append(dataclasses.replace(SAID, complete=False, usage=Usage(None, 3, True)), "m", "s")
    ledger.append(SAID, "m", "s")
    ledger.append(dataclasses.replace(SAID, key="other", complete=False, usage=Usage(None, 2, True)), "m", "s")
    ledger.append(dataclasses.replace(SAID, usage=Usage(1000, 1000)), "another", "s")
    spent = ledger.spent("m")
    assert (spent.answers, spent.partial, spent.prompt_tokens, spent.completion_tokens, spent.uncounted) == (1, 2, 14, 10, 1)


def test_the_latest_verdict_counts_and_equal_ones_are_stored_once(ledger: Ledger) -> None:
    for sample in range(3):
        ledger.append(dataclasses.replace(SAID, sample=sample), "m", "s")
    numbers = [number for number, _ in ledger.of_prompt("key", "m", "s", 3)]
    collection = Collection("m", "s", 3, "checks")
    ledger.judge("checks", [(numbers[0], None), (numbers[1], "end: x"), (numbers[2], None)])
    assert [answer.sample for _, answer in ledger.kept(collection)] == [0, 2]
    for _ in range(2):
        ledger.judge("checks", [(numbers[0], "policy: y"), (numbers[1], None), (numbers[2], None)])
    assert [answer.sample for _, answer in ledger.kept(collection)] == [1, 2]
    assert [answer.sample for _, answer in ledger.kept(dataclasses.replace(collection, samples=2))] == [1]
    assert list(ledger.kept(dataclasses.replace(collection, checks="others"))) == []
    assert sqlite3.connect(ledger.path).execute("SELECT count(*) FROM verdicts").fetchone() == (5,)


def test_killed_at_any_moment_it_is_whole_and_has_all_that_was_appended(tmp_path: Path) -> None:
    path, told = tmp_path / "answers.db", 0
    draw = random.Random(0)
    for _ in range(4):
        environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            told = int(process.stdout.readline())
            time.sleep(draw.uniform(0.0, 0.2))
            process.send_signal(signal.SIGKILL)
            told = max([told, *(int(line) for line in process.stdout.read().splitlines() if line.strip())])
        with opened(path) as ledger:
            recorded = ledger.of_prompt("key", "m", "s", 1_000_000)
        # What append returned from is there; the one that it was killed in may be.
        assert [answer.sample for _, answer in recorded] == list(range(len(recorded)))
        assert len(recorded) in (told + 1, told + 2)
        assert all(answer.text == f"{number} " * 200 for number, (_, answer) in enumerate(recorded))
        assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_processes_do_not_collect_at_once(ledger: Ledger) -> None:
    with ledger.collecting():
        with opened(ledger.path) as other, pytest.raises(UserError, match="another process collects answers into"), other.collecting():
            pass
        with opened(ledger.path) as reader:
            assert reader.answered("m", "s") == set()


def test_files_that_are_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    path.write_bytes(b"no database, but a text of some length" * 100)
    with pytest.raises(DamagedFile, match=r"answers.db is damaged, or no ledger of answers"), opened(path):
        pass
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (id)")
    with pytest.raises(DamagedFile, match="is the database of another program"), opened(path):
        pass
    path.unlink()
    with opened(path):
        sqlite3.connect(path).execute("PRAGMA user_version = 9")
    with pytest.raises(UserError, match="tables of version 9, expected 1: a newer edgedistill made it"), opened(path):
        pass


def test_a_disk_that_is_full(ledger: Ledger) -> None:
    ledger.append(SAID, "m", "s")
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFailed, match=r"the disk is full; free some space there. What was recorded stays"):
        ledger.append(dataclasses.replace(SAID, sample=1, text="x" * 100_000), "m", "s")
    assert ledger.answered("m", "s") == {("key", 0)}


def test_identity() -> None:
    # More samples are no other sampling; all else is.
    first = identity(Sampling(), None)
    assert identity(Sampling(samples=5), None) == first
    for other in (Sampling(temperature=0.5), Sampling(top_p=0.5), Sampling(max_tokens=5), Sampling(seed=1), Sampling(stop=["x"])):
        assert identity(other, None) != first
    assert identity(Sampling(), 5) != first
    chat, text = Prompt(messages=[{"role": "user", "content": "one"}]), Prompt(text="one")
    assert chat.key == Prompt(messages=[{"content": "one", "role": "user"}]).key
    assert len({chat.key, text.key, Prompt(text="two").key}) == 3
    with pytest.raises(ValueError, match="either messages or a text"):
        Prompt()
