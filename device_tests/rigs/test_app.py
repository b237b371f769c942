"""A model measured in an app: a package on the phone rig that really measures, driven through the stock adb client."""

import time

import pytest

from device_tests.rigs.app import PACKAGE, install
from device_tests.rigs.harness import edgedistill, small_model, until

OURS = "/data/local/tmp/edgedistill"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture
def bench(phone, model, tmp_path):
    def start(*words):
        given = ("--device", phone.spec, "--preset", "quick", "--app", PACKAGE)
        return edgedistill(tmp_path, phone.variables, "bench", model, *given, *words)

    return start


def records_of_app(phone):
    """The files of records that the app has now, wherever."""
    folders = (f"/data/data/{PACKAGE}/files", f"/sdcard/Android/data/{PACKAGE}/files", f"/data/data/{PACKAGE}/cache")
    return [path for folder in folders for path in phone.path(folder).glob("edgedistill/*.jsonl")]


def clean(phone, *, files=0):
    """The app is ended, and nothing of ours or of its records is left."""
    until(lambda: not phone.processes(), 10)
    assert not list(phone.path(f"{OURS}/jobs").glob("*"))
    assert not phone.path(f"{OURS}/lock").exists()
    assert len(records_of_app(phone)) == files


def whole(command):
    assert command.wait() == 0, command.said
    (measurement,) = command.document["measurements"]
    assert measurement["latency_ms"]["n"] >= 50
    assert measurement["versions"]["onnxruntime"]
    assert measurement["adapter"] == f"{PACKAGE}/.MeasureActivity"
    return measurement


def failed(command):
    assert command.wait() == 4, command.said
    (measurement,) = command.document["measurements"]
    assert measurement["validity"] == "invalid"
    return measurement["reasons"][0]


@pytest.mark.parametrize(("way", "kind", "left"), [("run-as", "debuggable", 0), ("files", "release", 0), ("content", "release", 1)])
def test_an_app_measures_and_its_records_are_read(phone, model, bench, way, kind, left):
    install(phone, model, way=way)
    measurement = whole(bench("--threads", 2))
    assert measurement["build"] == f"app {PACKAGE} 1.7.0 (versionCode 42), {kind} build"
    assert measurement["threads"] == 2
    assert measurement["sensors"]["temperature.hal.VIRTUAL-SKIN"]["last"] == 31.25, "the runner watches meanwhile"
    assert "process of its own" in measurement["sensors"]["load.others"]["unavailable"]
    assert measurement["timeline"]["latency"]["t_s"]
    assert measurement["validity"] == "invalid"
    assert any("emulated" in reason for reason in measurement["reasons"])
    assert not any("busy" in reason for reason in measurement["reasons"]), "the app itself is no other process"
    clean(phone, files=left)


def test_the_protocol_holds_for_an_app(phone, model, bench):
    install(phone, model)
    phone.state.governor(writable=True)
    phone.state.thermal(44.0, cpu_c=60.0)
    command = bench("--cool-to", 40, "--governor", "performance")
    jobs = phone.path(f"{OURS}/jobs")
    until(lambda: any('"name": "cooldown"' in path.read_text() for path in jobs.glob("*/out.jsonl")))
    time.sleep(3)
    assert not records_of_app(phone), "the app waits for a cool device"
    phone.state.thermal(36.0, cpu_c=38.0)
    conditions = {one["type"]: one for one in whole(command)["conditions"]}
    assert conditions["cooldown"]["reached"] is True
    assert conditions["cooldown"]["waited_s"] > 1
    assert conditions["setting"]["after"] == "performance"
    assert conditions["restored"]["ok"] is True
    clean(phone)


def test_a_link_that_drops_while_the_app_measures(phone, model, bench):
    install(phone, model)
    command = bench("--seconds", 6)
    until(lambda: any('"iterations"' in path.read_text() for path in records_of_app(phone)))
    phone.link.cut()
    time.sleep(3)
    phone.link.restore()
    assert whole(command)["latency_ms"]["n"] > 1000
    assert "is back after" in command.said
    clean(phone)


def test_a_link_that_drops_while_records_are_read(phone, model, bench):
    install(phone, model)
    command = bench("--seconds", 6)
    until(lambda: any('"type": "end"' in path.read_text() for path in records_of_app(phone)))
    phone.link.cut()
    time.sleep(2)
    phone.link.restore()
    whole(command)
    clean(phone)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("crash", "crashed or was killed, after its 'iterations' record"),
        ("error", "the self-test differs by 12 steps"),
        ("nonce", "the records belong to another run"),
    ],
)
def test_what_goes_wrong_in_the_app_is_told(phone, model, bench, mode, why):
    install(phone, model, mode=mode)
    reason = failed(bench())
    assert why in reason
    assert ("OutOfMemoryError: it was too much" in reason) == (mode == "crash"), "its log says why"
    clean(phone)


def test_an_app_with_another_file_is_no_measurement(phone, model, bench, tmp_path):
    install(phone, small_model(tmp_path / "other.onnx", width=32))
    assert "build the app with the bundle of this file" in failed(bench())
    clean(phone)


def test_an_app_without_a_measuring_screen(phone, model, bench):
    install(phone, model, activity=None)
    assert f"{PACKAGE} has no .MeasureActivity" in failed(bench())
    clean(phone)


def test_a_screen_that_adb_may_not_start(phone, model, bench):
    install(phone, model)
    phone.path(f"/data/app/{PACKAGE}/not-exported").touch()
    assert "export it, for android.permission.DUMP" in failed(bench())
    clean(phone)


def test_an_app_that_is_not_there(phone, bench):
    command = bench()
    assert command.wait() == 2
    assert f"has no app {PACKAGE}" in command.said


def test_ctrl_c_ends_the_app(phone, model, bench):
    install(phone, model)
    command = bench("--seconds", 60)
    until(lambda: any('"iterations"' in path.read_text() for path in records_of_app(phone)))
    command.interrupt()
    assert command.wait() == 130
    clean(phone)


def test_a_phone_that_restarts_while_the_app_measures(phone, model, bench):
    install(phone, model)
    command = bench("--seconds", 60)
    until(lambda: any('"iterations"' in path.read_text() for path in records_of_app(phone)))
    phone.restart()
    assert "killed" in failed(command)
