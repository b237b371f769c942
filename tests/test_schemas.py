"""The JSON Schema of each document of --json, and real documents that keep to it."""

import json
from pathlib import Path

import jsonschema
import pytest
from conftest import edgedistill
from made_documents import compared, made_measurement, stress

from edgedistill.measure.devices import listing
from edgedistill.records.devices import DeviceList
from edgedistill.records.documents import documents
from edgedistill.records.stored import DeviceBench, FailedDevice, FleetBench, FleetStress, Results
from edgedistill.records.summary import Summary


def schema_of(name: str) -> dict:
    return documents()[name].model_json_schema(mode="serialization", by_alias=True)


def test_the_command_lists_the_documents_and_prints_each_schema(tmp_path: Path) -> None:
    listed = json.loads(edgedistill("schema", "--json", cwd=tmp_path).stdout)["documents"]
    assert listed == sorted(documents())
    assert json.loads(edgedistill("schema", "run", cwd=tmp_path).stdout) == schema_of("run")
    failed = edgedistill("schema", "runs", "--json", cwd=tmp_path)
    assert failed.returncode == 2
    error = json.loads(failed.stdout)
    jsonschema.validate(error, schema_of("error"))
    assert "found no document 'runs', expected one of advise" in error["error"]["message"]


def test_the_list_of_devices_keeps_to_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    phones = [{"serial": "A", "state": "unauthorized", "model": ""}]
    monkeypatch.setattr(listing, "attached", lambda: phones)
    monkeypatch.setattr(listing.ios, "attached", list)
    written = DeviceList(devices=listing.devices([])).model_dump(mode="json")
    jsonschema.validate(written, schema_of("devices"))
    assert [device["spec"] for device in written["devices"]] == ["local", "adb:A"]
    assert "unlock the phone" in written["devices"][1]["unavailable"]
    assert DeviceList.model_validate(written).model_dump(mode="json") == written
    del written["devices"][0]["cores"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, schema_of("devices"))


@pytest.mark.parametrize("name", ["bench-devices", "stress-devices", "results"])
def test_documents_of_several_measurements_keep_to_their_schema(name: str) -> None:
    phone, board = "adb:0A1B2C", "ssh:pi@pi5"
    failed = FailedDevice(device=board, status="runtime_failed", error="no route to host")
    known = {"id": 1, "name": "main"}
    bench, load, turns = made_measurement("a.tflite"), stress(phone, "a.tflite", seconds=40), compared(board, "a.onnx", "b.onnx")
    document = {
        "bench-devices": FleetBench(status="ok", devices=[DeviceBench(device=phone, status="ok", measurements=[bench]), failed]),
        "stress-devices": FleetStress(status="ok", devices=[load, failed]),
        "results": Results(measurements=[known | one for one in (bench, load.model_dump(), turns.model_dump())]),
    }[name]
    written = document.model_dump(mode="json")
    jsonschema.validate(written, schema_of(name))
    assert type(document).model_validate(written).model_dump(mode="json") == written


def test_the_summary_of_a_run_keeps_to_its_schema_and_is_read_back_whole(tiny: Path) -> None:
    printed = json.loads((tiny / "result.json").read_text())
    jsonschema.validate(printed, schema_of("run"))
    # Another test may have written it again since.
    kept = Summary.read(tiny / "runs" / "tiny" / "summary.json").model_dump(mode="json")
    assert kept | {"created": None} == printed | {"created": None}
    del printed["artifacts"][0]["executed_by"]
    with pytest.raises(jsonschema.ValidationError, match="executed_by"):
        jsonschema.validate(printed, schema_of("run"))


@pytest.mark.slow
def test_a_bench_of_a_run_keeps_to_its_schema(tiny: Path) -> None:
    done = edgedistill("bench", "--json", cwd=tiny)
    assert done.returncode in (0, 3), done.stderr[-2000:]
    jsonschema.validate(json.loads(done.stdout), schema_of("bench"))
