"""The store of measurements: what goes in comes out, whoever else writes, however a writer ends; and its exports."""

import csv
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from made_documents import compared, made_measurement

from edgedistill.cli.results import results
from edgedistill.errors import StorageFailed, UserError
from edgedistill.measure import store
from edgedistill.measure.tabular import COLUMNS, export
from edgedistill.records.measurements import Measurement
from edgedistill.records.stored import StoredComparison, StoredMeasurement

RECORDS = b'{"type": "start"}\n{"type": "end"}\n' * 50


NONE = {"value": None, "unavailable": "too few samples"}


def document(name="student-int8.tflite", **changes):
    """The JSON of a measurement."""
    known = made_measurement(
        name, created="2026-11-25T10:00:00+00:00", latency_ms={"p50": 1.25, "p95": 1.5, "p99": NONE, "n": 200},
        intervals_ms={"p50": [1.24, 1.26], "p95": [1.4, 1.6], "p99": NONE}, energy={"value": None, "unavailable": "charging"},
        validity="noisy", reasons=["the interval is wide", "it was busy"],
    )  # fmt: skip
    return known | changes


def device(spec, model="Pixel 8"):
    return document()["device"] | {"spec": spec, "model": model}


def record(*names, **changes):
    return Measurement(**document(*names, **changes))


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".edgedistill" / "measurements.db"


def test_what_was_saved_is_read_back(path):
    with store.opened(path) as measurements:
        first = measurements.save(record(), RECORDS, "main")
    with store.opened(path) as measurements:
        second = measurements.save(record("é.onnx"), b"")
        assert measurements.get(first).model_dump(mode="json") == {"id": first, "name": "main", **document()}
        assert measurements.get(str(second)).artifact.name == "é.onnx"
        assert measurements.get("main").id == first
        assert measurements.raw(first) == RECORDS
        assert measurements.raw(second) == b""
    assert path.stat().st_size > 0
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_is_not_there_is_reported(path):
    with store.opened(path) as measurements:
        measurements.save(record(), b"", "main/local/a.pte")
        with pytest.raises(UserError, match=r"no measurement 'man'; names are: main/local/a\.pte"):
            measurements.get("man")
        with pytest.raises(UserError, match="no measurement '7'"):
            measurements.get(7)
        with pytest.raises(UserError, match="no measurement 7"):
            measurements.raw(7)
        for name in ("7", ""):
            with pytest.raises(UserError, match="expected one with a letter"):
                measurements.save(record(), b"", name)


def test_lists_are_filtered(path):
    with store.opened(path) as measurements:
        for name, changes in {
            "main/x/a": {"device": device("local")},
            "main/x/b": {"validity": "valid"},
            None: {},
        }.items():
            measurements.save(record(**changes), b"", name)
        measurements.save(compared("adb:0A1B2C", "a.pte", "b.pte"), b"", "mainly")
        measurements.save(record("other.pte"), b"")

        def ids(**filters):
            return [found.id for found in measurements.measurements(**filters)]

        assert ids() == [1, 2, 3, 4, 5]
        assert ids(device="local") == [1]
        assert ids(file="other.pte") == [5]
        assert ids(kind="compare") == ids(file="a.pte, b.pte") == [4]
        assert ids(validity="noisy", name="main", device=None) == [1]
        assert ids(name="main") == [1, 2]
        assert ids(name="main/x/b") == [2]
        assert ids(name="ma%") == []
        with pytest.raises(ValueError, match="found the filter colour"):
            ids(colour="red")


def test_a_name_stands_for_its_newest_and_the_sessions_that_are_alike(path):
    other = document()["artifact"] | {"sha256": "cd"}
    with store.opened(path) as measurements:
        for changes in ({"artifact": other}, {}, {"threads": 2}, {}):
            measurements.save(record(**changes), b"", "main")
        measurements.save(record(), b"", "else")
        assert measurements.get("main").id == 4
        assert [found.id for found in measurements.sessions("main")] == [2, 4]
        assert [found.id for found in measurements.sessions("main", before=4)] == [3]
        assert [found.id for found in measurements.sessions("main", before=3)] == [2]
        with pytest.raises(UserError, match="there is no measurement 'main' to compare with"):
            measurements.sessions("main", before=1)


WRITER = """
import sys, json
from pathlib import Path
from edgedistill.measure import store
from edgedistill.records.measurements import Measurement
measurement = Measurement.model_validate_json(sys.argv[2])
for i in range(int(sys.argv[3])):
    with store.opened(Path(sys.argv[1])) as measurements:
        print(measurements.save(measurement, b"x" * 200_000, "main"), flush=True)
"""


def writer(path, count):
    return subprocess.Popen([sys.executable, "-c", WRITER, path, json.dumps(document()), str(count)], stdout=subprocess.PIPE, text=True)


def test_a_measurement_of_another_version_is_reported(path):
    with store.opened(path) as measurements:
        measurements.save(record(), b"")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE measurements SET document = json_remove(document, '$.device.soc')")
    connection.commit()
    expected = r"measurement 1 is none that this version reads: bench\.device\.soc: Field required"
    with pytest.raises(UserError, match=expected), store.opened(path) as measurements:
        measurements.get(1)


def test_several_processes_write_to_a_new_store_at_once(path):
    writers = [writer(path, 10) for _ in range(3)]
    said = [int(line) for one in writers for line in one.communicate(timeout=60)[0].split()]
    assert [one.returncode for one in writers] == [0, 0, 0]
    with store.opened(path) as measurements:
        assert sorted(said) == [found.id for found in measurements.measurements()] == list(range(1, 31))


def test_a_writer_that_is_killed_loses_nothing_that_it_had_stored(path):
    for _ in range(3):
        one = writer(path, 100_000)
        seen = [one.stdout.readline() for _ in range(5)]
        time.sleep(0.01)
        one.kill()
        said = [int(line) for line in seen + one.stdout.read().split() if line.strip()]
        one.wait()
        with store.opened(path) as measurements:
            found = [one.id for one in measurements.measurements()]
            assert set(said) <= set(found)
            assert all(len(measurements.raw(number)) == 200_000 for number in found), "a measurement without its records"


def test_a_full_disk_is_reported_and_what_was_there_stays(path, monkeypatch):
    with store.opened(path) as measurements:
        measurements.save(record(), RECORDS, "main")
    pages = sqlite3.connect(path).execute("PRAGMA page_count").fetchone()[0]
    connect = sqlite3.connect

    def full(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        return connection

    monkeypatch.setattr(sqlite3, "connect", full)
    with (
        pytest.raises(StorageFailed, match=r"measurements\.db: database or disk is full: the disk is full; free some space"),
        store.opened(path) as measurements,
    ):
        measurements.save(record(reasons=["x" * 100_000]), b"")
    monkeypatch.undo()
    with store.opened(path) as measurements:
        assert [found.id for found in measurements.measurements()] == [1]
        assert measurements.raw(1) == RECORDS
        assert measurements.save(record(), b"") == 2


def test_files_that_are_no_store_are_reported(path, tmp_path):
    path.parent.mkdir()
    path.write_text("something else, long enough to be no header " * 10)
    with pytest.raises(UserError, match="it is not an SQLite file; move it away"), store.opened(path):
        pass
    assert path.read_text().startswith("something else")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be created: File exists"), store.opened(tmp_path / "file" / "m.db"):
        pass
    with pytest.raises(UserError, match="it can't be opened; check the permissions"), store.opened(tmp_path):
        pass


def test_a_store_in_use_is_waited_for_and_then_reported(path, monkeypatch):
    with store.opened(path):
        pass
    monkeypatch.setattr(store, "_WAIT_S", 0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with store.opened(path) as measurements:
        assert measurements.measurements() == [], "readers need not wait"
    with pytest.raises(UserError, match="another process has been writing to it"), store.opened(path) as measurements:
        measurements.save(record(), b"")


def test_an_older_store_is_brought_up_and_a_newer_one_refused(path, monkeypatch):
    with store.opened(path) as measurements:
        measurements.save(record(), b"", "main")
    monkeypatch.setattr(store, "_MIGRATIONS", (*store._MIGRATIONS, ("ALTER TABLE measurements ADD COLUMN note TEXT",)))
    with store.opened(path) as measurements:
        assert measurements.get("main").id == 1
    assert sqlite3.connect(path).execute("SELECT note FROM measurements").fetchall() == [(None,)]
    monkeypatch.undo()
    with pytest.raises(UserError, match="tables of version 2 and this edgedistill knows 1: a newer version made it"), store.opened(path):
        pass


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    with store.opened(path) as measurements:
        measurements.save(record(), b"", "main")
    broken = ("ALTER TABLE measurements ADD COLUMN note TEXT", "ALTER TABLE missing ADD COLUMN note TEXT")
    monkeypatch.setattr(store, "_MIGRATIONS", (*store._MIGRATIONS, broken))
    with pytest.raises(sqlite3.OperationalError, match="no such table"), store.opened(path):
        pass
    monkeypatch.undo()
    with store.opened(path) as measurements:
        assert measurements.get("main").id == 1


def test_exports_hold_the_same_rows(tmp_path):
    documents = [
        {"id": 1, "name": "it's", **document()},
        {"id": 2, "name": None, **compared("ssh:pi@pi5", "a.pte", "b.pte").model_dump(mode="json")},
    ]
    records = [StoredMeasurement(**documents[0]), StoredComparison(**documents[1])]
    for suffix in ("csv", "json", "parquet"):
        export(records, tmp_path / "out" / f"it's.{suffix}")
    assert json.loads((tmp_path / "out" / "it's.json").read_text()) == documents
    rows = duckdb.connect().read_parquet(str(tmp_path / "out" / "it's.parquet")).fetchall()
    first, second = (dict(zip(COLUMNS, row, strict=True)) for row in rows)
    expected = {"id": 1, "name": "it's", "model": "Pixel 8", "p50_ms": 1.25, "p50_low_ms": 1.24, "samples": 200, "steady": True}
    assert expected.items() <= first.items()
    assert first["reasons"] == "the interval is wide; it was busy"
    assert (first["p99_ms"], first["p99_high_ms"], first["mj_per_inference"], second["p50_ms"]) == (None,) * 4
    assert (second["ratio"], second["ratio_high"], second["verdict"]) == (0.9, 0.91, "better")
    with open(tmp_path / "out" / "it's.csv", newline="") as handle:
        read = list(csv.DictReader(handle))
    for row, values in zip(read, (first, second), strict=True):
        assert row == {key: "" if value is None else str(value) for key, value in values.items()}
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["it's.csv", "it's.json", "it's.parquet"]


def test_an_empty_export_has_its_columns(tmp_path):
    for suffix in ("csv", "json", "parquet"):
        export([], tmp_path / f"none.{suffix}")
    assert duckdb.connect().read_parquet(str(tmp_path / "none.parquet")).columns == list(COLUMNS)
    assert (tmp_path / "none.csv").read_text().strip() == ",".join(COLUMNS)
    with pytest.raises(UserError, match=r"found 'x\.xlsx' to export to, expected a name that ends with \.csv, \.json, \.parquet"):
        export([], Path("x.xlsx"))


NO_FILTERS = dict.fromkeys(store.FILTERS)


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """What the command prints in a project with three measurements, and its exit code."""
    monkeypatch.chdir(tmp_path)

    def show(which=None, export=None, as_json=False, **filters):
        with pytest.raises(SystemExit) as ended:
            results(which, NO_FILTERS | filters, export=export, as_json=as_json)
        printed = capsys.readouterr()
        return ended.value.code, printed.out + printed.err

    assert show()[0] == 2
    assert "nothing was measured here yet" in show()[1]
    with store.opened() as measurements:
        measurements.save(record(device=device("ssh:pi[5]", "Pi")), b"", "main/pi")
        measurements.save(record("b.onnx"), b"")
        measurements.save(compared("ssh:pi@pi5", "a.pte", "b.pte"), b"")
    return show


def test_results_are_listed_and_shown(shown):
    code, table = shown()
    assert code == 0
    figures = ("1.250 [1.240, 1.260] ms", "0.900 [0.890, 0.910] times A")
    for text in ("ssh:pi[5]", "student-int8.tflite", "b.onnx", "a.pte, b.pte", "main/pi", *figures):
        assert text in table
    for which in ("main", "1"):
        one = shown(which)[1]
        assert "1 (main/pi): bench of 2026-11-25T10:00:00+00:00 on ssh:pi[5], Pi" in one
        assert "  it was busy" in one
    assert [found["id"] for found in json.loads(shown(as_json=True, file="b.onnx")[1])["measurements"]] == [2]
    code, said = shown("other")
    assert (code, "names are: main/pi" in said) == (2, True)


def test_results_are_exported(shown, tmp_path):
    assert shown(export=Path("all.csv")) == (0, "all.csv: 3 rows\n")
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 4
