"""bench, compare and stress as a user gives them, for a phone over adb and a board over ssh."""

import threading
import time

import pytest

from device_tests.rigs.harness import edgedistill, small_model, until
from device_tests.rigs.test_live import collected


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A small model, and one that takes about four times as long."""
    folder = tmp_path_factory.mktemp("models")
    return small_model(folder / "small.onnx"), small_model(folder / "large.onnx", side=32, width=256)


@pytest.fixture(params=["phone", "board"])
def device(request):
    return request.getfixturevalue(request.param)


def test_compare_finds_the_faster(device, models, tmp_path):
    command = edgedistill(tmp_path, device.variables, "compare", *models, "--device", device.spec, "--preset", "quick")
    assert command.wait(500) == 0, command.said
    found = command.document
    assert found["verdict"] == "worse", found["text"]
    assert found["ratio"]["interval"][0] > 1.2
    assert found["validity"] == "invalid"
    assert "emulated" in found["reasons"][0]
    listed = edgedistill(tmp_path, device.variables, "results", "--kind", "compare")
    assert listed.wait() == 0
    assert [one["device"]["spec"] for one in listed.document["measurements"]] == [device.spec]


def test_a_regression_is_exit_code_3(phone, models, tmp_path):
    words = ["--device", phone.spec, "--preset", "quick"]
    small, large = models
    file = tmp_path / "net.onnx"
    file.write_bytes(small.read_bytes())
    assert edgedistill(tmp_path, phone.variables, "bench", file, *words, "--save", "main").wait() == 0
    file.write_bytes(large.read_bytes())
    worse = edgedistill(tmp_path, phone.variables, "bench", file, *words, "--against", "main")
    assert worse.wait() == 3, worse.said
    assert worse.document["measurements"][0]["regression"]["verdict"] == "regression"
    unknown = edgedistill(tmp_path, phone.variables, "bench", file, *words, "--against", "other")
    assert unknown.wait() == 0
    assert "other" in unknown.document["measurements"][0]["regression"]["unavailable"]


def test_a_quota_that_is_cut_meanwhile_is_found_as_throttling(board, models, tmp_path):
    command = edgedistill(tmp_path, board.variables, "stress", models[1], "--device", board.spec, "--preset", "quick", "--minutes", 1)
    until(lambda: any(record["type"] == "stress_start" for record in collected(tmp_path)))
    begun_s = next(record for record in collected(tmp_path) if record["type"] == "stress_start")["t0_ns"] / 1e9
    while float(board.control("cut -d' ' -f1 /proc/uptime")) < begun_s + 35:
        time.sleep(0.2)
    # The load is one thread, and an emulated one is noisy: a third of a core is a change that no noise hides.
    board.cpu_quota(33)
    cut_s = float(board.control("cut -d' ' -f1 /proc/uptime")) - begun_s
    assert command.wait(500) == 0, command.said
    stress = command.document["stress"]
    assert stress["throttling"]["time_s"] == pytest.approx(cut_s, abs=5), stress["throttling"]
    assert stress["throughput"]["ratio"]["value"] < 0.8


def test_a_stress_test_goes_on_over_a_dropped_link(phone, models, tmp_path):
    command = edgedistill(tmp_path, phone.variables, "stress", models[0], "--device", phone.spec, "--preset", "quick", "--minutes", 0.6)
    until(lambda: any(record["type"] == "instance" for record in collected(tmp_path)))
    phone.link.cut()
    threading.Timer(6, phone.link.restore).start()
    assert command.wait() == 0, command.said
    stress = command.document["stress"]
    assert stress["ended"] == "time"
    assert stress["gaps"] == [], "the device went on, and lost nothing"


def test_a_stress_test_goes_on_after_its_session_was_killed(phone, models, tmp_path):
    words = ["stress", models[0], "--device", phone.spec, "--preset", "quick", "--minutes", 0.6]
    killed = edgedistill(tmp_path, phone.variables, *words)
    until(lambda: any(record["type"] == "instance" for record in collected(tmp_path)))
    killed.process.kill()
    killed.wait()
    again = edgedistill(tmp_path, phone.variables, *words)
    assert again.wait() == 0, again.said
    assert "continuing the job that an earlier session started there" in again.said
    assert again.document["stress"]["ran_s"] == pytest.approx(36, abs=2)


def test_a_stress_test_ends_when_it_gets_too_hot(phone, models, tmp_path):
    words = ["--device", phone.spec, "--preset", "quick", "--minutes", 3, "--limit-c", 44]
    command = edgedistill(tmp_path, phone.variables, "stress", models[0], *words)
    until(lambda: any(record["type"] == "instance" for record in collected(tmp_path)))
    phone.state.thermal(skin_c=46.5)
    assert command.wait() == 0, command.said
    stress = command.document["stress"]
    assert stress["ended"] != "time"
    assert stress["ran_s"] < 120
    assert any(event["event"] == "aborted" for event in stress["events"])
