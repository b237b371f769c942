"""`bench --app` on an iPhone, through a stand-in for devicectl: tests/iphones. device_tests/rigs has the phone for pymobiledevice3."""

import functools
import hashlib
import json
import os
import plistlib
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from test_schemas import schema_of

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import app_ios, app_runner, ios, session, store
from edgedistill.measure.devices import listing, open_device
from edgedistill.measure.harness import Protocol
from edgedistill.measure.ios import devicectl, pymobiledevice
from edgedistill.measure.ios.base import BatteryReading
from edgedistill.steps import flow

BUNDLE = "org.example.flowers"
UDID = "00008110-000559182E90401E"
SPEC = f"ios:{UDID}"
DEVICE = {
    "identifier": "8648BE6E-199F-55FE-B508-5B42071FEE92",
    "properties": {
        "connection": {"pairingState": "paired", "state": "connected", "transportType": "localNetwork"},
        "hardware": {
            "cpuType": {"name": "arm64e"}, "deviceType": "iPhone", "marketingName": "iPhone 13", "platform": "iOS",
            "productType": "iPhone14,5", "reality": "physical", "udid": UDID,
        },
        "software": {"osVersionNumber": {"components": [27, 0, 0, 0, 0], "stringValue": "27.0"}},
        "state": {"bootState": "booted", "developerModeStatus": {"enabled": {"mode": 1}}, "name": "Anna's iPhone"},
    },
}  # fmt: skip
QUICK = Protocol("quick", seconds=0.1)
READING = BatteryReading(level=81.0, charging=False, powered=False, temperature=29.5, voltage=3900.0, current=410.0)


class Phone:
    def __init__(self, folder, model):
        self.folder, self.model, self.documents = folder, model, folder / "containers" / BUNDLE / "Documents"
        for name in ("apps", "pids"):
            (folder / name).mkdir(parents=True)
        self.documents.mkdir(parents=True)
        self.write("device.json", DEVICE)
        self.write(f"apps/{BUNDLE}.json", {"version": "1.7.0", "bundleVersion": "42", "builtByDeveloper": True})

    def write(self, name, value):
        (self.folder / name).write_text(value if isinstance(value, str) else json.dumps(value))

    def change(self, part, **values):
        device = json.loads((self.folder / "device.json").read_text())
        device["properties"][part] |= values
        self.write("device.json", device)

    @property
    def calls(self):
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    def running(self):
        path = self.folder / "pids" / BUNDLE
        try:
            return path.exists() and Path(f"/proc/{path.read_text()}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A Mac with an iPhone."""
    programs = tmp_path / "bin"
    programs.mkdir()
    stand_in = Path(__file__).parent / "iphones" / "xcrun.py"
    (programs / "xcrun").write_text(f'#!/bin/sh\nexec {sys.executable} -S {stand_in} "$@"\n')
    (programs / "xcrun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("IPHONE", str(tmp_path / "iphone"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app_ios, "LOOK_S", 0.1)
    monkeypatch.setattr(app_runner, "STALL_S", 2)
    monkeypatch.setattr(session, "RECONNECT_S", 1.0)
    monkeypatch.setattr(pymobiledevice, "program", lambda: None)
    # The file of Core ML is a folder.
    model = tmp_path / "student-int8.mlpackage"
    model.mkdir()
    (model / "Manifest.json").write_text("{}")
    made = Phone(tmp_path / "iphone", model)
    yield made
    assert not made.running(), "the app was ended"


def bench(phone, *, name=BUNDLE, protocol=None, **options):
    document = flow.bench_on(phone.model, SPEC, protocol or QUICK, app=name, **options)
    return document, document.model_dump(mode="json")["measurements"][0]


def test_an_app_is_measured_and_stored(phone):
    document, one = bench(phone, protocol=Protocol("quick", seconds=0.1, threads=2), save="main")
    jsonschema.validate(document.model_dump(mode="json"), schema_of("bench-device"))
    assert document.status == "ok", one["reasons"]
    assert (one["device"]["spec"], one["device"]["model"]) == (SPEC, "iPhone 13 (iPhone14,5)")
    assert (one["device"]["os"], one["device"]["abi"]) == ("iOS 27.0", "arm64e")
    assert one["build"] == f"app {BUNDLE} 1.7.0 (build 42), signed for development"
    assert one["adapter"] == BUNDLE
    assert one["versions"] == {"CoreML": "18.0"}
    assert one["artifact"]["format"] == "coreml"
    assert one["latency_ms"]["n"] >= 50
    assert 0.01 < one["latency_ms"]["p50"] < 50
    assert one["threads"] == 2
    assert one["sensors"]["thermal.state"]["last"] == 0
    assert "install pymobiledevice3" in one["sensors"]["battery.temperature"]["unavailable"]
    assert one["sensors"]["battery.usb"]["last"] == 0, "it is reached by Wi-Fi"
    assert "neither to apps" in one["sensors"]["load.others"]["unavailable"]
    assert "cannot be verified" in one["outputs"]["unavailable"]
    assert one["timeline"]["thermal.state"]["t_s"], "the app's sensors are on the clock of its inferences"
    assert not any("throttled" in reason or "powered" in reason for reason in one["reasons"])
    with store.opened() as measurements:
        raw = measurements.raw(one["id"])
    assert raw.count(b'"type": "start"') == 2, "the records of this machine and the app's"


def test_the_app_gets_the_job_in_two_ways(phone):
    bench(phone)
    (call,) = [call for call in phone.calls if call[1:4] == ["device", "process", "launch"]]
    given = json.loads(call[call.index("--environment-variables") + 1])["EDGEDISTILL_JOB"]
    assert call[-1] == BUNDLE, "what stands behind it would be arguments of the app"
    assert "--terminate-existing" in call
    assert json.loads((phone.documents / "edgedistill/job.json").read_text()) == json.loads(given)
    job = json.loads(given)
    assert (job["artifact"], job["out"]) == (phone.model.name, f"edgedistill/{job['nonce']}.jsonl")
    listed = f"{hashlib.sha256(b'{}').hexdigest()}  Manifest.json\n"
    assert job["sha256"] == hashlib.sha256(listed.encode()).hexdigest(), "as a manifest says it of a folder"


def test_an_app_whose_folder_cannot_be_written_gets_its_environment(phone):
    phone.write("failures.json", {"device copy to": [1, "The operation couldn’t be completed."]})
    document, one = bench(phone)
    assert document.status == "ok", one["reasons"]


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("error", "the app left the foreground"),
        ("crash", f"{BUNDLE} crashed or was killed, after its 'warmup' record; its crash report is on the phone"),
        ("dead", f"{BUNDLE} crashed or was killed, before its first record; its crash report"),
        ("stall", "had written no record for 2 s, after its 'warmup' record"),
        ("truncated", "changed or lost"),
        ("other nonce", "belong to another run"),
        ("other file", "build the app with the bundle of this file"),
        ("wrong clock", "s, and the app was watched for"),
    ],
)
def test_what_goes_wrong_in_the_app_is_told_and_kept(phone, mode, why):
    phone.write("mode", mode)
    document, one = bench(phone)
    assert document.status == "runtime_failed"
    assert why in one["reasons"][0]
    assert one["build"].startswith(f"app {BUNDLE} 1.7.0")
    (kept,) = Path(".edgedistill/records").glob("*.jsonl")
    kinds = [json.loads(line)["type"] for line in kept.read_bytes().splitlines()]
    assert kinds.count("start") == (1 if mode == "dead" else 2), "what the app wrote until then is kept whole"
    assert (mode == "dead") != ("load" in kinds)


def test_an_app_is_ended_after_the_limit(phone, monkeypatch):
    monkeypatch.setattr(app_runner, "LIMIT_S", 1)
    phone.write("mode", "slow")
    _, one = bench(phone)
    assert "had not finished after 1 s" in one["reasons"][0]


def test_why_the_file_could_not_be_read_is_told(phone, monkeypatch):
    monkeypatch.setattr(app_runner, "STALL_S", 1)
    phone.write("failures.json", {"device copy from": [99, "The file service is not there."]})
    _, one = bench(phone)
    assert "before its first record" in one["reasons"][0]
    assert "the last try to read its file said: ios:" in one["reasons"][0]
    assert "The file service is not there" in one["reasons"][0]


def test_a_link_that_drops_while_records_are_pulled(phone, capsys):
    phone.write("failures.json", {"device copy from": [2, "The tunnel connection failed while the system tried to connect."]})
    document, one = bench(phone)
    assert document.status == "ok", one["reasons"]
    assert f"{SPEC} is back after" in capsys.readouterr().err


def test_a_link_that_does_not_come_back(phone):
    phone.write("failures.json", {"device copy from": [99, "The specified device was not found."]})
    document, one = bench(phone)
    assert document.status == "runtime_failed"
    assert "it did not come back within" in one["reasons"][0]


def test_records_without_end_do_not_fill_the_disk(phone, monkeypatch):
    import edgedistill.measure.records as limits

    monkeypatch.setattr(limits, "RECORDS_LIMIT", 700)
    monkeypatch.setattr(app_runner, "STALL_S", 1)
    _, one = bench(phone)
    assert "printed more than 700 bytes" in one["reasons"][0]


@pytest.mark.parametrize(
    ("part", "values", "why"),
    [
        ("connection", {"pairingState": "unpaired"}, "does not trust this computer"),
        ("state", {"developerModeStatus": {"disabled": {}}}, "its Developer Mode is off: turn it on"),
        ("connection", {"state": "unavailable"}, "does not reach it"),
    ],
)
def test_a_phone_that_cannot_be_used_says_what_to_do(phone, part, values, why):
    phone.change(part, **values)
    with pytest.raises(DeviceFailed, match=why):
        bench(phone)
    (row,) = [row for row in listing.devices([]) if row.spec == SPEC]
    assert why in row.unavailable


def test_a_locked_phone(phone):
    (phone.folder / "locked").touch()
    with pytest.raises(DeviceFailed, match="it is locked: unlock it"):
        bench(phone)
    with pytest.raises(DeviceFailed, match=r"it is locked: unlock it.*could not be, unlocked"):
        ios.iphone(UDID).start(BUNDLE, {})


def test_a_phone_that_is_not_there(phone):
    with pytest.raises(DeviceFailed, match=f"not known to this Mac; devicectl lists {UDID.lower()}"):
        flow.bench_on(phone.model, "ios:00008110-000A1B2C3D4E5F6A", Protocol("quick"), app=BUNDLE)


def test_an_app_that_is_not_installed(phone):
    with pytest.raises(UserError, match=r"has no app org\.example\.other: run it once from Xcode"):
        bench(phone, name="org.example.other")


def test_a_bundle_identifier_may_look_like_a_file(phone):
    with pytest.raises(UserError, match=r"has no app org\.example\.app"):
        bench(phone, name="org.example.app")


def test_a_package_is_installed_first(phone, tmp_path):
    shutil.rmtree(phone.folder / "apps")
    (phone.folder / "apps").mkdir()
    app = tmp_path / "Sample.app"
    app.mkdir()
    about = {"CFBundleIdentifier": BUNDLE, "CFBundleShortVersionString": "2.0", "CFBundleVersion": "7"}
    (app / "Info.plist").write_bytes(plistlib.dumps(about, fmt=plistlib.FMT_BINARY))
    _, one = bench(phone, name=str(app))
    assert one["build"].startswith(f"app {BUNDLE} 2.0 (build 7)")


def test_the_bundle_of_an_ipa(tmp_path):
    from edgedistill.measure.ios.package import bundle_of

    with zipfile.ZipFile(tmp_path / "a.ipa", "w") as archive:
        archive.writestr("Payload/A.app/Frameworks/F.framework/Info.plist", plistlib.dumps({"CFBundleIdentifier": "other"}))
        archive.writestr("Payload/A.app/Info.plist", plistlib.dumps({"CFBundleIdentifier": BUNDLE}))
    assert bundle_of(tmp_path / "a.ipa") == BUNDLE
    with zipfile.ZipFile(tmp_path / "b.ipa", "w") as archive:
        archive.writestr("Payload/A.app/Info.plist", b"not a property list")
    (tmp_path / "c.ipa").write_bytes(b"no archive")
    for name in ("b.ipa", "c.ipa", "none.app"):
        with pytest.raises(UserError, match="is no app: "):
            bundle_of(tmp_path / name)


def test_the_battery_is_read_by_pymobiledevice3_where_it_is(phone, monkeypatch):
    later = iter([READING, READING, replace(READING, level=80.0)])
    monkeypatch.setattr(devicectl.Devicectl, "battery", lambda self: next(later))
    _, one = bench(phone, protocol=Protocol("quick", seconds=0.1, cool_to=35.0))
    sensors = one["sensors"]
    assert [sensors[f"battery.{name}"]["last"] for name in ("level", "temperature", "voltage", "current")] == [80.0, 29.5, 3900.0, 410.0]
    assert sensors["battery.level"]["n"] == 2, "before and after"
    (cooldown,) = [one for one in one["conditions"] if one["type"] == "cooldown"]
    assert (cooldown["sensor"], cooldown["reached"]) == ("battery.temperature", True)
    assert not any("charg" in reason or "powered" in reason for reason in one["reasons"])


def test_a_battery_that_cannot_be_read_ends_nothing(phone, monkeypatch):
    def fail(self):
        raise DeviceFailed("the relay is not there")

    monkeypatch.setattr(devicectl.Devicectl, "battery", fail)
    document, one = bench(phone)
    assert document.status == "ok", one["reasons"]
    assert one["sensors"]["battery.level"]["unavailable"] == "the relay is not there"


def test_the_app_s_own_battery_is_taken_where_no_tool_reads_it(phone):
    phone.write("state.json", {"thermal.state": 1.0, "battery.level": 64.0, "memory.footprint": 2e7})
    _, one = bench(phone)
    assert [one["sensors"][name]["last"] for name in ("battery.level", "memory.footprint", "thermal.state")] == [64.0, 2e7, 1.0]
    assert one["sensors"]["battery.level"]["source"] == "the app"


def test_a_phone_that_is_charged_is_told(phone, monkeypatch):
    monkeypatch.setattr(devicectl.Devicectl, "battery", lambda self: BatteryReading(90.0, True, True, 31.0, None, None))
    _, one = bench(phone)
    assert any(reason.startswith("charging:") for reason in one["reasons"])


def test_a_hot_phone_waits(phone, monkeypatch):
    readings = iter([37.0, 37.0, 36.0, 34.0])
    monkeypatch.setattr("edgedistill.measure.app_conditions.EVERY_S", 0.1)
    hot = lambda self: BatteryReading(90.0, False, False, next(readings, 34.0), None, None)  # noqa: E731
    monkeypatch.setattr(devicectl.Devicectl, "battery", hot)
    _, one = bench(phone, protocol=Protocol("quick", seconds=0.1, cool_to=35.0))
    (cooldown,) = [one for one in one["conditions"] if one["type"] == "cooldown"]
    assert (cooldown["from_c"], cooldown["to_c"], cooldown["reached"]) == (37.0, 34.0, True)


def test_a_cable_powers_the_phone(phone):
    phone.change("connection", transportType="wired")
    _, one = bench(phone)
    assert "powered: by USB" in one["reasons"]


def test_a_hot_processor_is_throttled(phone):
    phone.write("state.json", {"thermal.state": 2.0})
    _, one = bench(phone)
    assert one["validity"] == "throttled"
    assert "throttled: iOS's thermal state was serious" in one["reasons"]


def test_ctrl_c_ends_the_app(phone):
    phone.write("mode", "slow")
    command = [sys.executable, "-m", "edgedistill", "bench", str(phone.model), "--app", BUNDLE, "--device", SPEC, "--preset", "quick"]
    # Tests that run in the background inherit signals that are ignored.
    default = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=default)  # noqa: PLW1509
    deadline = time.monotonic() + 30
    while not any(b"iterations" in path.read_bytes() for path in phone.documents.glob("edgedistill/*.jsonl")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    assert phone.running()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130, process.communicate()
    process.communicate()
    assert not phone.running()


def test_devices_lists_iphones(phone):
    (row,) = [row for row in listing.devices([]) if row.spec.startswith("ios")]
    assert (row.spec, row.model, row.os) == (SPEC, "iPhone 13 (iPhone14,5)", "iOS 27.0")
    assert row.measurable["latency in an app"] is True
    assert "neither to apps" in row.measurable["frequency"]
    assert "install pymobiledevice3" in row.battery.unavailable


def test_the_older_form_of_the_list_is_read_too(phone):
    old = {
        "identifier": "ID-1",
        "connectionProperties": {"pairingState": "paired", "transportType": "wired", "tunnelState": "connected"},
        "deviceProperties": {"name": "My iPhone", "osVersionNumber": "17.5.1", "osBuildUpdate": "21F90", "developerModeStatus": "enabled"},
        "hardwareProperties": {
            "udid": UDID, "platform": "iOS", "productType": "iPhone16,1", "marketingName": "iPhone 15 Pro", "cpuType": {"name": "arm64e"},
        },
    }  # fmt: skip
    read = devicectl._read(old)
    assert (read.model, read.system, read.architecture) == ("iPhone 15 Pro (iPhone16,1)", "iOS 17.5.1 (21F90)", "arm64e")
    assert (read.wired, read.refused) == (True, None)
    old["deviceProperties"]["developerModeStatus"] = "disabled"
    assert "Developer Mode" in devicectl._read(old).refused


def test_paths_on_the_phone_are_compared_decoded():
    assert devicectl._path("file:///private/var/containers/My%20App.app/") == "/var/containers/My App.app"
    assert devicectl._path(None) is None


@pytest.mark.parametrize(
    ("data", "ended"),
    [
        (b"", False),
        (b'{"type":"end"}', False),
        (b'{"type":"start"}\n{"type":"end"}\n', True),
        (b'{"type": "error"}\n', True),
        (b'{"type":"end"}\n{"type":"x"}\n', False),
        (b'{"type":"end"}\n{"ty', False),
        (b"[]\n", False),
    ],
)
def test_the_last_whole_line_tells_the_end(data, ended):
    assert app_ios._ended(data) is ended


def test_a_machine_without_a_tool_says_what_to_install(phone, monkeypatch):
    monkeypatch.setattr(devicectl, "is_here", lambda: False)
    with pytest.raises(DeviceFailed, match=r"Xcode 15 or later.*edgedistill\[ios\]"):
        bench(phone)
    (row,) = [row for row in listing.devices([]) if row.spec.startswith("ios")]
    assert "no tool for iPhones is here" in row.unavailable


def test_what_does_not_go_together_is_refused(phone, tmp_path):
    for spec, options, app, why in (
        (SPEC, {}, None, "on an iPhone only apps run; build apps/ios"),
        (SPEC, {"cores": "big"}, BUNDLE, "iOS chooses the cores of an app"),
        (SPEC, {"governor": "performance", "meter": "command:x"}, BUNDLE, "found --governor, --meter with an iPhone"),
        ("ios:-x", {}, BUNDLE, "expected a UDID such as"),
        (SPEC, {}, "--evil.x", "expected a bundle identifier such as"),
        (SPEC, {}, "none.ipa", "an .ipa or .app that is there"),
    ):
        with pytest.raises(UserError, match=why):
            flow.bench_on(phone.model, spec, Protocol("quick", **options), app=app)
    with pytest.raises(UserError, match="only apps run"):
        open_device(SPEC)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="expected one model file"):
        flow.bench_on(tmp_path / "folder", SPEC, Protocol("quick"), app=BUNDLE)
