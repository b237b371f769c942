"""`bench --app`: the records of an app, what they have to hold, and how a measurement is made of them; device_tests/rigs has the phone."""

import hashlib
import json
import os
import sys
import textwrap
from contextlib import contextmanager

import jsonschema
import pytest
from test_schemas import schema_of
from typer.testing import CliRunner

from edgedistill.cli.app import app as command_line
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import app_android, app_records, app_runner, devices, places, store
from edgedistill.measure.devices.local import LocalDevice
from edgedistill.measure.harness import Protocol
from edgedistill.steps import flow

PACKAGE = "org.example.flowers"
NONCE = "f" * 32
DUMP = f"""Packages:
  Package [{PACKAGE}] (1a2b3c):
    versionCode=42 minSdk=26 targetSdk=36
    versionName=1.7.0
    flags=[ DEBUGGABLE HAS_CODE ]
"""
START = {"type": "start", "nonce": NONCE, "versions": {"litert": "1.4.0"}, "artifact": "net.tflite", "sha256": "ab", "threads": 1}
APP = [
    START,
    {"type": "clock", "monotonic_ns": 2_000_000_000, "time_ns": 1},
    {"type": "load", "kind": "first", "ns": 3_000_000},
    {"type": "first_inference", "ns": 2_000_000},
    {"type": "load", "kind": "warm", "ns": 1_000_000},
    {"type": "warmup", "iterations": 80, "windows": 8, "steady": True, "ns": 100},
    {"type": "iterations", "t0_ns": 3_000_000_000, "durations_ns": [1_000_000] * 100},
]
OWN = [
    {"type": "start", "nonce": NONCE, "versions": {}, "facts": {"cpu": "c", "cpu_flags": [], "cores": 1, "platform": "p", "python": "3"}},
    {
        "type": "sensors", "interval_s": 0.5, "unavailable": [],
        "available": [
            {"name": "load.others", "unit": "1", "source": "/proc/stat"}, {"name": "memory.pss", "unit": "bytes", "source": "s"},
            {"name": "temperature.skin", "unit": "°C", "source": "s"},
        ],
    },
    {"type": "phase", "name": "work", "t_ns": 1_000_000_000},
    {"type": "sensor", "t_ns": 3_000_000_000, "values": {"load.others": 0.9, "memory.pss": 5.0, "temperature.skin": 31.0}},
    {"type": "program", "command": [], "text": "", "ns": 1, "peak_rss": None},
    {"type": "phase", "name": "end", "t_ns": 9_000_000_000},
    {"type": "end", "nonce": NONCE, "records": 6, "sha256": "0"},
]  # fmt: skip


def written(records, *, end=True, nonce=NONCE):
    """The bytes of an app that writes `records`."""
    data = b"".join(json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records)
    last = {"type": "end", "nonce": nonce, "records": len(records), "sha256": hashlib.sha256(data).hexdigest()}
    return data + (json.dumps(last).encode() + b"\n" if end else b"")


def without(kind):
    return [record for record in APP if record["type"] != kind]


def changed(kind, /, **fields):
    return [record | fields if record["type"] == kind else record for record in APP]


def test_records_of_a_whole_run_are_taken():
    assert [record["type"] for record in app_records.read(written(APP), NONCE)][-1] == "end"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the app stopped before its end record, after writing nothing"),
        (written(APP, end=False), "the app stopped before its end record, after its 'iterations' record"),
        (written(APP, nonce="0" * 32), "belong to another run"),
        (written(changed("start", nonce="0" * 32)), "belong to another run"),
        (written(APP).replace(b"1000000,", b"1000001,", 1), "changed or lost"),
        (written([*APP, {"type": "error", "message": "lost the focus"}], end=False), "lost the focus"),
        (written(without("warmup")), "wrote no 'warmup' record"),
        (written(without("iterations")), "wrote no 'iterations' record"),
        (written(changed("load", kind="first")), "found the loads first, first"),
        (written(changed("load", kind="cold")), "line 3 of the app's records: 'kind' of 'load'"),
        (written(changed("iterations", durations_ns=[])), "'durations_ns' of 'iterations'"),
        (written(changed("iterations", durations_ns=[1, -1])), "'durations_ns.1' of 'iterations'"),
        (written(changed("iterations", durations_ns=[1.5])), "'durations_ns.0' of 'iterations'"),
        (written(changed("start", versions=None)), "'versions' of 'start'"),
        (written(changed("start", threads=True)), "'threads' of 'start'"),
        (written([*APP, {"type": "error"}]), "'message' of 'error'"),
        (b'{"type": "end"}\n', "'nonce' of 'end'"),
        (b'{"type": ["end"]}\n', "stopped before its end record"),
    ],
)
def test_records_that_are_no_run_are_refused(data, why):
    with pytest.raises(DeviceFailed, match=why):
        app_records.read(data, NONCE)


def test_the_app_stands_in_the_place_of_the_program():
    whole = app_records.merged(OWN, app_records.read(written(APP), NONCE))
    kinds = [record["type"] for record in whole]
    assert kinds == [
        "start", "sensors", "phase", "sensor", "clock", "load", "first_inference", "load", "warmup", "iterations", "memory", "phase", "end",
    ]  # fmt: skip
    assert whole[0]["versions"] == {"litert": "1.4.0"}
    assert whole[0]["facts"]["cpu"] == "c"


def test_sensors_of_the_runner_s_own_process_are_left_out():
    sensors, sweep = (record for record in app_records.merged(OWN, app_records.read(written(APP), NONCE)) if "sensor" in record["type"])
    assert [entry["name"] for entry in sensors["available"]] == ["temperature.skin"]
    assert [entry["name"] for entry in sensors["unavailable"]] == ["load.others", "memory.pss"]
    assert sweep["values"] == {"temperature.skin": 31.0}


def test_an_app_may_have_sensors_of_its_own():
    names = ("memory.pss", "temperature.skin")
    own = [
        {"type": "sensors", "available": [{"name": name, "unit": "u", "source": "app"} for name in names]},
        {"type": "sensor", "t_ns": 3_000_000_000, "values": dict.fromkeys(names, 7.0)},
    ]
    whole = app_records.merged(OWN, app_records.read(written([*APP, *own]), NONCE))
    first, second = (record for record in whole if record["type"] == "sensors")
    assert [entry["name"] for entry in first["unavailable"]] == ["load.others"]
    assert [entry["name"] for entry in second["available"]] == ["memory.pss"], "what the runner reads itself stays the runner's"
    assert [record["values"] for record in whole if record["type"] == "sensor"] == [{"temperature.skin": 31.0}, {"memory.pss": 7.0}]


@pytest.mark.parametrize("t0_ns", [999_999_999, 8_950_000_000])
def test_times_of_another_clock_are_refused(t0_ns):
    with pytest.raises(DeviceFailed, match=r"System\.nanoTime"):
        app_records.merged(OWN, app_records.read(written(changed("iterations", t0_ns=t0_ns)), NONCE))


class _Phone(LocalDevice):
    spec = "adb:test"


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """This machine as a phone with the app: stand-ins of Android's commands. `phone(APP, ...)` gives the app its code, Python."""
    bin_folder, home = tmp_path / "bin", tmp_path / "app"
    for folder in (bin_folder, home / "files"):
        folder.mkdir(parents=True)

    def command(name, text):
        (bin_folder / name).write_text(f"#!/bin/sh\nhome={home}\n{text}\n")
        (bin_folder / name).chmod(0o755)

    command("dumpsys", f"[ \"$*\" = 'package {PACKAGE}' ] && cat $home/dump")
    command("run-as", 'cd "$home"; shift; exec "$@"')
    command("pidof", "kill -0 $(cat $home/pid) 2>/dev/null && cat $home/pid")
    command("logcat", "echo E AndroidRuntime: java.lang.IllegalStateException: no bundle")
    command(
        "am",
        f"""[ $1 = force-stop ] && {{ kill -9 $(cat $home/pid) 2>/dev/null; echo "$*" >> $home/am; exit 0; }}
        printf '%s\\n' "$@" > $home/arguments
        [ -f $home/refusal ] && {{ cat $home/refusal >&2; exit 1; }}
        {sys.executable} $home/app.py "$7" </dev/null >/dev/null 2>&1 &
        echo $! > $home/pid
        echo Status: ok""",
    )
    (home / "dump").write_text(DUMP)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(app_android, "SHELL", "/bin/sh")
    monkeypatch.setattr(app_runner, "STALL_S", 6)
    monkeypatch.setattr(devices, "open_device", lambda spec: _Phone())
    really = places.place

    @contextmanager
    def place(spec, **options):
        with really("local") as where:
            yield where

    monkeypatch.setattr(places, "place", place)
    (tmp_path / "net.tflite").write_bytes(b"a model")

    def install(code=_APP, **values):
        (home / "app.py").write_text(textwrap.dedent(code).replace("VALUES", repr(values)))

    install()
    install.home, install.model, install.install = home, tmp_path / "net.tflite", install
    return install


# Writes what docs/devices.md asks for. VALUES replace fields of the records, by kind.
_APP = """
import hashlib, json, os, sys, time
job = json.loads(sys.argv[1])
values, digest, count = VALUES, hashlib.sha256(), 0
os.makedirs("%s/files/edgedistill" % os.path.dirname(__file__), exist_ok=True)
out = open(os.path.dirname(__file__) + "/files/" + job["out"], "wb")
def write(kind, /, **fields):
    global count
    line = json.dumps({"type": kind, **fields, **values.get(kind, {})}).encode() + b"\\n"
    out.write(line)
    out.flush()
    digest.update(line)
    count += 1
sha256 = hashlib.sha256(b"a model").hexdigest()
write("start", nonce=job["nonce"], versions={"litert": "1.4.0"}, artifact=job["artifact"], sha256=sha256, threads=job["threads"])
write("clock", monotonic_ns=time.monotonic_ns(), time_ns=time.time_ns())
write("load", kind="first", ns=3000000)
write("first_inference", ns=2000000)
write("memory", rss_runtime_loaded=2 << 20, peak_rss=5 << 20, source="VmHWM")
write("load", kind="warm", ns=1000000)
write("warmup", iterations=80, windows=8, steady=True, ns=100)
if values.get("stop"):
    time.sleep(values["stop"])
    sys.exit(1)
begin = time.monotonic_ns()
time.sleep(0.3)
write("iterations", t0_ns=begin, durations_ns=[1000000 + i % 3 for i in range(job["bench"]["min_samples"])])
write("clock", monotonic_ns=time.monotonic_ns(), time_ns=time.time_ns())
write("end", nonce=job["nonce"], records=count, sha256=digest.hexdigest())
time.sleep(60)
"""


def bench(phone, *, name=PACKAGE, threads=1, **options):
    document = flow.bench_on(phone.model, "adb:test", Protocol("quick", threads=threads), app=name, **options)
    return document, document.model_dump(mode="json")["measurements"][0]


def test_an_app_is_measured_and_stored(phone):
    document, one = bench(phone, threads=2, save="main")
    jsonschema.validate(document.model_dump(mode="json"), schema_of("bench-device"))
    assert document.status == "ok", one["reasons"]
    assert one["build"] == f"app {PACKAGE} 1.7.0 (versionCode 42), debuggable build"
    assert one["adapter"] == f"{PACKAGE}/.MeasureActivity"
    assert one["versions"] == {"litert": "1.4.0"}
    assert one["artifact"]["sha256"] == hashlib.sha256(b"a model").hexdigest()
    assert one["latency_ms"]["p50"] == pytest.approx(1.0, rel=1e-3)
    assert one["latency_ms"]["n"] == 50
    assert one["load_ms"] == {"cold": 3.0, "warm": 1.0}
    assert one["peak_rss_mb"] == 3.0
    assert one["steady"] is True
    assert "cannot be verified" in one["outputs"]["unavailable"]
    assert {"preflight"} <= {condition["type"] for condition in one["conditions"]}
    assert not any("busy" in reason for reason in one["reasons"])
    with store.opened() as measurements:
        raw = measurements.raw(one["id"])
    assert raw.count(b'"type": "start"') == 2, "the runner's records and the app's"
    assert not list((phone.home / "files/edgedistill").iterdir()), "its records were removed"
    assert (phone.home / "am").read_text().splitlines()[-1] == f"force-stop {PACKAGE}"


def test_the_job_arrives_as_one_word(phone):
    bench(phone, name=f"{PACKAGE}/.ui.Measure_It", threads=3)
    *words, text = (phone.home / "arguments").read_text().splitlines()
    assert words == ["start", "-W", "-n", f"{PACKAGE}/.ui.Measure_It", "--es", "job"]
    job = json.loads(text)
    assert job["out"] == f"edgedistill/{job['nonce']}.jsonl"
    assert (job["schema"], job["task"], job["artifact"], job["threads"]) == (3, "run", "net.tflite", 3)
    assert job["bench"] == {"warmup_s": 1.0, "relative_width": 0.02, "min_s": 0.5, "max_s": 3.0, "min_samples": 50}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"start": {"sha256": "0" * 64}}, "build the app with the bundle of this file"),
        ({"start": {"threads": 4}}, "with 4 threads, expected 1"),
        ({"start": {"nonce": "0" * 32}}, "belong to another run"),
        ({"end": {"records": 3}}, "changed or lost"),
        ({"stop": 0.5}, "crashed or was killed, after its 'warmup' record; the last lines of its log:\nE AndroidRuntime"),
        ({"stop": 60}, "had written no record for 6 s, after its 'warmup' record"),
    ],
)
def test_what_goes_wrong_is_told_and_kept(phone, values, why):
    phone.install(_APP, **values)
    document, one = bench(phone)
    assert document.status == "runtime_failed"
    assert why in one["reasons"][0]
    assert one["build"].startswith(f"app {PACKAGE} 1.7.0")
    (kept,) = (phone.home.parent / ".edgedistill/records").glob("*.jsonl")
    assert b'"warmup"' in kept.read_bytes(), "what the app wrote until then is kept"
    assert not list((phone.home / "files/edgedistill").iterdir())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (f"Error type 3\nError: Activity class {{{PACKAGE}/x}} does not exist.", "has no .MeasureActivity: build it with the measuring"),
        ("java.lang.SecurityException: Permission Denial: starting Intent not exported from uid 1", "export it"),
        ("Error: Activity not started, unable to resolve", "did not start; am said: Error: Activity not started"),
    ],
)
def test_a_screen_that_does_not_start(phone, answer, why):
    (phone.home / "refusal").write_text(answer)
    _, one = bench(phone)
    assert why in one["reasons"][0]


def test_an_app_is_ended_after_the_limit(phone, monkeypatch):
    monkeypatch.setattr(app_runner, "LIMIT_S", 2)
    phone.install(_APP, stop=60)
    _, one = bench(phone)
    assert "had not finished after 2 s" in one["reasons"][0]


def test_records_without_end_are_not_read_forever(phone, monkeypatch):
    import edgedistill.measure.records as limits

    monkeypatch.setattr(app_android, "_PIECE", 100)
    monkeypatch.setattr(limits, "RECORDS_LIMIT", 1000)
    _, one = bench(phone)
    assert "the app wrote more than" in one["reasons"][0]


def test_records_arrive_in_pieces(phone, monkeypatch):
    monkeypatch.setattr(app_android, "_PIECE", 333)
    phone.install(_APP, start={"versions": {"läuft": "1"}})
    document, one = bench(phone)
    assert document.status == "ok", one["reasons"]


def test_an_app_that_is_not_installed(phone):
    (phone.home / "dump").write_text(f"Unable to find package: {PACKAGE}\n")
    with pytest.raises(UserError, match=f"has no app {PACKAGE}: install it"):
        bench(phone)


@pytest.mark.parametrize("name", ["flowers", "org.example;reboot", "org.example/", "org.example/a b", "-n.x", "$(id).x"])
def test_a_name_that_is_no_package_is_refused(phone, name):
    with pytest.raises(UserError, match="expected a package such as"):
        bench(phone, name=name)


def test_what_does_not_go_together_is_refused(tmp_path):
    model = tmp_path / "net.tflite"
    model.write_bytes(b"a model")
    for file, device, options, protocol, why in (
        (model, "local", {}, Protocol("quick"), "found --device local, expected adb:SERIAL"),
        (model, "adb:x", {}, Protocol("quick", cores="big"), "--app and --cores do not go together"),
        (tmp_path, "adb:x", {}, Protocol("quick"), "expected one model file"),
        (model, "adb:x", {"runner": "bench"}, Protocol("quick"), "found --app with --runner bench"),
        (tmp_path / "none.pte", "adb:x", {}, Protocol("quick"), "no such file"),
    ):
        with pytest.raises(UserError, match=why):
            flow.bench_on(file, device, protocol, app=PACKAGE, **options)


def test_the_command_wants_a_phone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command_line, ["bench", "net.tflite", "--app", PACKAGE])
    assert done.exit_code == 2
    assert "found --app without --device" in done.output
