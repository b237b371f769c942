"""A model measured in an app of an iPhone, by pymobiledevice3 as it is: usbmuxd, the phone and the app are stand-ins."""

import plistlib
import zipfile

import pytest

from device_tests.rigs.harness import edgedistill, small_model, until
from device_tests.rigs.iphone import BUNDLE, UDID, program, started

DVT = "com.apple.instruments.remoteserver.DVTSecureSocketProxy"
pytestmark = pytest.mark.skipif(program() is None, reason="pymobiledevice3 is not installed: pip install 'edgedistill[ios]'")


@pytest.fixture
def iphone(tmp_path):
    # A socket has a short path.
    (tmp_path / "i").mkdir()
    with started(tmp_path / "i", program()) as rig:
        yield rig


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture
def bench(iphone, model, tmp_path):
    def start(*words, app=BUNDLE):
        return edgedistill(tmp_path, iphone.variables, "bench", model, "--app", app, "--device", iphone.spec, "--preset", "quick", *words)

    return start


def whole(command):
    assert command.wait() == 0, command.said
    (measurement,) = command.document["measurements"]
    assert measurement["latency_ms"]["n"] >= 50
    return measurement


def refused(command):
    assert command.wait() == 4, command.said
    return command.document["error"]["message"]


def failed(command):
    assert command.wait() == 4, command.said
    (measurement,) = command.document["measurements"]
    return measurement["reasons"][0]


def test_an_app_is_measured(iphone, bench):
    measurement = whole(bench("--threads", 2, "--cool-to", 35))
    assert measurement["device"]["model"] == "iPhone11,2"
    assert measurement["device"]["os"] == "iOS 16.7 (20H115)"
    assert measurement["build"] == f"app {BUNDLE} 1.7.0 (build 42), signed for development"
    assert measurement["threads"] == 2
    sensors = measurement["sensors"]
    assert [sensors[f"battery.{name}"]["last"] for name in ("level", "temperature", "voltage", "current")] == [81, 29.5, 3900, 410]
    assert sensors["thermal.state"]["last"] == 0
    assert [one["reached"] for one in measurement["conditions"] if one["type"] == "cooldown"] == [True]
    assert '"nonce"' in (iphone.documents / "edgedistill/job.json").read_text()
    until(lambda: not iphone.running(), 5)


def test_devices_lists_it(iphone, tmp_path):
    command = edgedistill(tmp_path, iphone.variables, "devices")
    assert command.wait() == 0, command.said
    (row,) = [row for row in command.document["devices"] if row["spec"].startswith("ios")]
    assert (row["spec"], row["battery"]["level"], row["battery"]["status"]) == (iphone.spec, 81, "discharging")


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"gone": True}, "is not attached; pymobiledevice3 lists none"),
        ({"paired": False}, "does not trust this computer: connect it by a cable"),
        ({"developer_mode": False}, "its Developer Mode is off: turn it on"),
    ],
)
def test_a_phone_that_cannot_be_used(iphone, bench, about, why):
    iphone.change(**about)
    assert why in refused(bench())
    assert not iphone.records()


def test_usbmuxd_that_does_not_run(iphone, bench):
    iphone.socket.unlink()
    assert "usbmuxd does not run" in refused(bench())


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"locked": True}, "it is locked: unlock it"),
        (
            {"services": {DVT: "InvalidService"}},
            "its developer services are not there",
        ),
        ({"services": {"com.apple.mobile.house_arrest": "PasswordProtected"}}, "it is locked: unlock it"),
    ],
)
def test_a_phone_that_refuses(iphone, bench, about, why):
    iphone.change(**about)
    command = bench()
    if "house_arrest" in str(about):
        until(iphone.records, 60)
        command.interrupt()
        assert command.wait() == 130
        assert why in command.said
    else:
        assert why in failed(command)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("error", "the app left the foreground"),
        ("crash", "crashed or was killed, after its 'warmup' record"),
        ("dead", "crashed or was killed, before its first record"),
        ("other nonce", "belong to another run"),
        ("truncated", "changed or lost"),
    ],
)
def test_what_goes_wrong_in_the_app(iphone, bench, mode, why):
    (iphone.folder / "mode").write_text(mode)
    assert why in failed(bench())
    assert not iphone.running()


def test_a_link_that_drops_while_the_file_is_copied(iphone, bench):
    iphone.change(cut=1)
    measurement = whole(bench())
    assert measurement["versions"] == {"CoreML": "18.0"}
    assert '"cut": 0' in (iphone.folder / "phone.json").read_text()


def test_a_phone_that_is_unplugged_for_a_while(iphone, bench):
    command = bench("--seconds", 8)
    until(lambda: any(b"iterations" in path.read_bytes() for path in iphone.records()), 60)
    iphone.change(gone=True)
    until(lambda: not any(path.stat().st_size == 0 for path in iphone.records()), 5)
    until(lambda: any(b'"end"' in path.read_bytes() for path in iphone.records()), 60)
    iphone.change(gone=False)
    whole(command)
    assert "trying again" in command.said


def test_ctrl_c_ends_the_app(iphone, bench):
    (iphone.folder / "mode").write_text("slow")
    command = bench()
    until(lambda: any(b"iterations" in path.read_bytes() for path in iphone.records()), 60)
    assert iphone.running()
    command.interrupt()
    assert command.wait() == 130
    assert not iphone.running()


def test_an_app_that_is_not_there(iphone, bench):
    command = bench(app="org.example.other")
    assert command.wait() == 2
    assert f"ios:{UDID} has no app org.example.other" in command.document["error"]["message"]


def test_an_ipa_is_installed_first(iphone, bench, tmp_path):
    (iphone.folder / "apps" / f"{BUNDLE}.json").unlink()
    about = {"CFBundleIdentifier": BUNDLE, "CFBundleShortVersionString": "2.0", "CFBundleVersion": "7"}
    with zipfile.ZipFile(tmp_path / "Sample.ipa", "w") as archive:
        archive.writestr("Payload/", "")
        archive.writestr("Payload/Sample.app/", "")
        archive.writestr("Payload/Sample.app/Info.plist", plistlib.dumps(about))
    assert whole(bench(app=tmp_path / "Sample.ipa"))["build"] == f"app {BUNDLE} 2.0 (build 7)"
