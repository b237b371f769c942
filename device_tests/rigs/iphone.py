"""A rig for an iPhone: usbmuxd, lockdownd and the services behind it, which pymobiledevice3 itself is the client of."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device_tests.rigs.harness import until

UDID = "00008020-001C2D223A47002E"
BUNDLE = "org.example.flowers"
_VALUES = {
    "BuildVersion": "20H115", "CPUArchitecture": "arm64e", "DeviceClass": "iPhone", "DeviceName": "rig", "ProductType": "iPhone11,2",
    "ProductVersion": "16.7", "UniqueChipID": 1, "UniqueDeviceID": UDID, "WiFiAddress": "02:00:00:00:00:01",
}  # fmt: skip
_BATTERY = {
    "CurrentCapacity": 81, "MaxCapacity": 100, "Temperature": 2950, "Voltage": 3900, "InstantAmperage": (1 << 64) - 410,
    "IsCharging": False, "ExternalConnected": False,
}  # fmt: skip
_APP = {
    "CFBundleIdentifier": BUNDLE, "CFBundleShortVersionString": "1.7.0", "CFBundleVersion": "42",
    "Entitlements": {"get-task-allow": True},
}  # fmt: skip


class IphoneRig:
    """The folder of the phone, and the variables by which pymobiledevice3 finds it."""

    spec = f"ios:{UDID}"

    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self.socket = folder, folder / "usbmuxd"
        self.documents = folder / "containers" / BUNDLE / "Documents"
        for path in (folder / "apps", folder / "pids", self.documents):
            path.mkdir(parents=True)
        (folder / "apps" / f"{BUNDLE}.json").write_text(json.dumps(_APP))
        self.write({"values": _VALUES, "battery": _BATTERY})
        # pymobiledevice3 keeps its records of pairing in the home of the user.
        beside = f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"
        self.variables = {"USBMUXD_SOCKET_ADDRESS": str(self.socket), "PATH": beside, "HOME": str(folder), "XDG_CACHE_HOME": str(folder)}

    def write(self, about: dict[str, Any]) -> None:
        """What the phone tells, whole or not at all."""
        part = self.folder / "phone.part"
        part.write_text(json.dumps(about))
        part.replace(self.folder / "phone.json")

    def change(self, **values: Any) -> None:
        """Change what the phone tells: see iphone_server.py."""
        self.write(json.loads((self.folder / "phone.json").read_text()) | values)

    def running(self) -> bool:
        """Whether the app has a process."""
        path = self.folder / "pids" / BUNDLE
        try:
            return path.exists() and Path(f"/proc/{path.read_text()}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def records(self) -> list[Path]:
        """The files of records that the app has."""
        return list(self.documents.glob("edgedistill/*.jsonl"))


def program() -> str | None:
    """pymobiledevice3: beside this Python, or on PATH."""
    return shutil.which("pymobiledevice3", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


@contextmanager
def started(folder: Path, program: str) -> Iterator[IphoneRig]:
    """The rig for the block. program: pymobiledevice3, whose Python also runs the rig."""
    rig = IphoneRig(folder, program)
    server = Path(__file__).with_name("iphone_server.py")
    python = Path(program).resolve().parent / "python"
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            [str(python), str(server), str(rig.socket), str(folder)], stdin=subprocess.PIPE, stdout=log, stderr=log, env=_without_project()
        )
        try:
            until(lambda: rig.socket.exists() or process.poll() is not None, 30)
            assert process.poll() is None, (folder / "server.log").read_text()
            yield rig
        finally:
            process.kill()
            process.wait()


def _without_project() -> dict[str, str]:
    """pymobiledevice3 may be of another Python than this one."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
