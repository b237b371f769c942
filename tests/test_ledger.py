"""The ledger of teaching sets: what is appended stays, is found, and a changed byte is told with its row."""

import random
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest

from edgedistill.errors import DamagedFile
from edgedistill.teach.ledger import segments
from edgedistill.teach.ledger.ledger import Ledger, halves
from edgedistill.teach.ledger.verify import verify

COUNT = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of two segments: a set of 40 examples that a run learned, and a removal."""
    ledger = Ledger(tmp_path_factory.mktemp("made") / "ledger")
    numbers = np.arange(COUNT)
    with ledger.appending() as writer:
        about = writer.note("set", {"source": "texts", "licence": "MIT"})
        writer.examples(about, halves([ledger.identify(b"%d" % n) for n in numbers]), numbers, numbers % 3, 1_700_000_000_000)
        writer.note("used", {"run": "first"}, about=about)
    with ledger.appending() as writer:
        writer.note("removed", {"reason": "asked"}, example=ledger.identify(b"7"))
    return ledger.folder


@pytest.fixture
def ledger(made: Path, tmp_path: Path) -> Ledger:
    return Ledger(shutil.copytree(made, tmp_path / "ledger"))


def test_what_is_appended_is_found_by_its_content_which_is_not_in_the_ledger(ledger: Ledger) -> None:
    [[high, low]] = halves([ledger.identify(b"7")]).tolist()
    query = "SELECT row, kind, place, split, about FROM ledger WHERE example_high = ? AND example_low = ?"
    assert ledger.select(query, [high, low]) == [(8, "example", 7, 1, 0), (42, "removed", -1, -1, -1)]
    assert ledger.select("SELECT text FROM ledger WHERE row = 0") == [('{"licence":"MIT","source":"texts"}',)]
    other = Ledger(ledger.folder.parent / "other")
    assert other.identify(b"7") != ledger.identify(b"7")
    assert (ledger.folder / "key").stat().st_mode & 0o077 == 0


def test_a_whole_ledger_is_verified(ledger: Ledger) -> None:
    checked = verify(ledger)
    assert (checked.status, checked.rows, checked.segments, checked.problems) == ("ok", COUNT + 3, 2, [])
    # What an append left that ended before its end is not in the ledger.
    (ledger.folder / "000000000043.parquet").write_bytes(b"half")
    assert verify(ledger, {"a run": checked.head, "the first append": ledger.segments()[0].link}).status == "ok"


def test_any_changed_byte_is_found_and_its_rows_are_named(ledger: Ledger) -> None:
    draw = random.Random(0)
    for path in sorted(path for path in ledger.folder.iterdir() if path.name != "lock"):
        whole = path.read_bytes()
        for place in draw.sample(range(len(whole)), 25):
            changed = bytearray(whole)
            changed[place] ^= 1 << draw.randrange(8)
            path.write_bytes(changed)
            checked = verify(Ledger(ledger.folder))
            assert checked.status == "check_failed", (path.name, place)
            if path.suffix == ".parquet":
                low, high = (0, COUNT + 1) if path.name == "000000000000.parquet" else (COUNT + 2, COUNT + 2)
                assert checked.row in range(low, high + 1), (path.name, place)
        path.write_bytes(whole)
    assert verify(Ledger(ledger.folder)).status == "ok"


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("example_low = example_low + 1", 11),
        ("split = 2", 11),
        ("place = 99", 11),
        ("time_ms = 0", 11),
        ("about = 1", 11),
        ("kind = 'used'", 11),
        ("link = 0", 11),
        ("row = 12", 11),
        ('text = \'{"source":"texts"}\'', 0),
    ],
)
def test_a_changed_value_names_its_row(ledger: Ledger, change: str, row: int) -> None:
    path = ledger.paths()[0]
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t AS SELECT * FROM read_parquet('{path}')")
        connection.execute(f"UPDATE t SET {change} WHERE row = {row}")
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    checked = verify(ledger)
    assert checked.row == row
    assert f"row {row} " in checked.problems[0]


def test_rows_that_are_gone_are_found(ledger: Ledger) -> None:
    listed = ledger.segments()
    ledger.paths()[0].unlink()
    assert verify(ledger).row == 0
    ledger.write_head(listed[1:])
    assert "expected row 0" in verify(ledger).problems[0]


def test_an_end_that_was_cut_off_is_found_by_who_noted_the_head(ledger: Ledger) -> None:
    head = verify(ledger).head
    ledger.write_head(ledger.segments()[:1])
    assert verify(ledger).status == "ok"
    checked = verify(ledger, {"the run first": head})
    assert checked.status == "check_failed"
    assert checked.problems[0].startswith("the run first noted the head")


def test_an_append_that_fails_leaves_nothing(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.appending() as writer:
            writer.note("set", {})
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert verify(ledger).rows == COUNT + 3
    with pytest.raises(DamagedFile, match="can't be read"):
        segments.read(ledger.folder / "key")


def test_a_large_append_has_several_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "ROWS", 100)
    ledger, numbers = Ledger(tmp_path / "ledger"), np.arange(250)
    with ledger.appending() as writer:
        about = writer.note("set", {})
        writer.examples(about, np.zeros((250, 2), np.uint64), numbers, numbers * 0, numbers)
    assert [(s.first, s.rows) for s in ledger.segments()] == [(0, 101), (101, 100), (201, 50)]
    assert verify(ledger).status == "ok"
    assert ledger.select("SELECT place, time_ms FROM ledger WHERE row = 205") == [(204, 204)]
