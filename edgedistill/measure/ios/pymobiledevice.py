"""iPhones through pymobiledevice3, on every system.

Its command line is used, not its modules: each call is a process of its own, which may hang or crash, and whose output is bounded. It
makes the tunnel that iOS 17 and later want for developer services by itself. It is also under another licence (GPL 3).
"""

import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedistill import scratch
from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices.base import LinkLost, NoAnswer, Reply
from edgedistill.measure.devices.commands import call
from edgedistill.measure.ios.base import DOCUMENTS, Attached, BatteryReading, InstalledApp, UnknownIphone
from edgedistill.measure.ios.refusals import NO_DEVELOPER_MODE, NOT_PAIRED, raised

_ANSWER_S = 60.0
# A phone that does not know this computer asks its user, and pymobiledevice3 waits for the answer.
_TRUST_S = 20.0
_INSTALL_S = 900.0
_TOOL = "pymobiledevice3"
_LOGGED = re.compile(r"^\S+ \S+ \S+ \S+\[\d+\] ([A-Z]+) ", re.MULTILINE)
_FIRST_WITH_DEVELOPER_MODE = 16
_SIGNED = 1 << 63


def program() -> str | None:
    """The path of pymobiledevice3: beside this Python, or on PATH."""
    return shutil.which(_TOOL, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]))


def attached(program: str) -> list[Attached]:
    """The iPhones and iPads of usbmuxd, by cable and network. Raises DeviceFailed if usbmuxd does not run."""
    listed = _json(program, "", "usbmux", "list")
    phones = {}
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and entry.get("DeviceClass") in ("iPhone", "iPad", "iPod"):
            phone = _read(entry)
            phones[phone.udid] = phone
    return list(phones.values())


class Pymobiledevice:
    """A phone by its UDID. program: the path of pymobiledevice3."""

    def __init__(self, udid: str, program: str) -> None:
        self.udid, self.program = udid, program

    @property
    def spec(self) -> str:
        """ios:UDID."""
        return f"ios:{self.udid}"

    def about(self) -> Attached:
        """What it is; see `base.Iphone`."""
        found = {phone.udid.replace("-", "").lower(): phone for phone in attached(self.program)}
        phone = found.get(self.udid.replace("-", "").lower())
        if phone is None:
            others = ", ".join(sorted(phone.udid for phone in found.values())) or "none"
            raise UnknownIphone(f"{self.spec} is not attached; {_TOOL} lists {others}")
        try:
            values = self._json("lockdown", "info", timeout_s=_TRUST_S)
        except NoAnswer:
            return replace(phone, refused=NOT_PAIRED)
        except LinkLost:
            raise
        except DeviceFailed as error:
            return replace(phone, refused=str(error).removeprefix(f"{self.spec}: "))
        known = _read(values) if isinstance(values, dict) else phone
        return replace(known, refused=self._refused(known))

    def battery(self) -> BatteryReading | str:
        """A reading of the battery, of the service diagnostics_relay; see `base.Iphone`."""
        values = self._json("diagnostics", "battery", "single")
        if not isinstance(values, dict):
            return "the phone tells nothing of its battery"
        return _battery(values)

    def install(self, package: Path) -> None:
        """Install an .ipa or .app, by installation_proxy; see `base.Iphone`."""
        self._call("apps", "install", str(package), timeout_s=_INSTALL_S)

    def installed(self, bundle: str) -> InstalledApp | None:
        """The app, of installation_proxy; see `base.Iphone`."""
        found = self._json("apps", "query", bundle)
        app = found.get(bundle) if isinstance(found, dict) else None
        if not isinstance(app, dict):
            return None
        rights = app.get("Entitlements")
        version, number = app.get("CFBundleShortVersionString"), app.get("CFBundleVersion")
        return InstalledApp(
            bundle, str(version) if version else "without a version", str(number) if number else "none",
            development=rights.get("get-task-allow") is True if isinstance(rights, dict) else None,
        )  # fmt: skip

    def start(self, bundle: str, environment: dict[str, str]) -> None:
        """Start an app, by the developer service processcontrol; see `base.Iphone`."""
        given = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        self._call("developer", "dvt", "launch", *given, bundle)

    def running(self, bundle: str) -> bool:
        """Whether the app has a process; see `base.Iphone`."""
        return self._process(bundle) != 0

    def terminate(self, bundle: str) -> None:
        """End the app; see `base.Iphone`."""
        if process := self._process(bundle):
            self._call("developer", "dvt", "kill", str(process))

    def pull(self, bundle: str, path: str, limit: int) -> bytes:
        """The content of a file, by house_arrest; see `base.Iphone`."""
        with scratch.temporary() as folder:
            target = folder / "pulled"
            # The trust in a file of the app ends at `limit`.
            self._call("apps", "pull", "--documents", bundle, f"/{DOCUMENTS}/{path}", str(target), files={target: limit})
            return target.read_bytes()

    def push(self, bundle: str, data: bytes, path: str) -> None:
        """Write a file, by house_arrest; see `base.Iphone`."""
        folder, _, name = path.rpartition("/")
        with scratch.temporary() as here:
            # Only a folder is sent with the folders above it.
            source = here / (folder or DOCUMENTS)
            source.mkdir(parents=True)
            (source / name).write_bytes(data)
            target = f"/{DOCUMENTS}/{folder}".rpartition("/")[0] if folder else "/"
            self._call("apps", "push", "--documents", bundle, str(source), target)

    def reconnect(self) -> None:
        """Nothing: each command connects anew."""

    def _process(self, bundle: str) -> int:
        """The id of the app's process, or 0."""
        out = self._call("developer", "dvt", "process-id-for-bundle-id", bundle).out.split()
        if not out or not out[-1].isdigit():
            raise DeviceFailed(f"{self.spec}: found '{' '.join(out)[:60]}' from {_TOOL}, expected the id of a process")
        return int(out[-1])

    def _refused(self, phone: Attached) -> str | None:
        major = re.match(r"\D*(\d+)", phone.system)
        if major is None or int(major[1]) < _FIRST_WITH_DEVELOPER_MODE:
            return None
        return NO_DEVELOPER_MODE if self._json("mounter", "query-developer-mode-status") is False else None

    def _call(self, *words: str, timeout_s: float = _ANSWER_S, files: dict[Any, int] | None = None) -> Reply:
        return _run(self.program, self.spec, *words, "--udid", self.udid, timeout_s=timeout_s, files=files)

    def _json(self, *words: str, timeout_s: float = _ANSWER_S) -> Any:
        return _json(self.program, self.spec, *words, "--udid", self.udid, timeout_s=timeout_s)


def _run(program: str, spec: str, *words: str, timeout_s: float = _ANSWER_S, files: dict[Any, int] | None = None) -> Reply:
    """What a command of pymobiledevice3 printed. Raises what its error stands for."""
    reply = call([program, "--no-color", *words], timeout_s=timeout_s, files=files)
    if reply.code:
        raise raised(spec, _said(reply), _TOOL)
    return reply


def _json(program: str, spec: str, *words: str, timeout_s: float = _ANSWER_S) -> Any:
    out = _run(program, spec, *words, timeout_s=timeout_s).out
    try:
        return json.loads(out)
    except (ValueError, RecursionError) as error:
        raise DeviceFailed(f"`{_TOOL} {' '.join(words[:3])}` printed no JSON, but: {out.strip()[:100]}") from error


def _said(reply: Reply) -> str:
    """The errors that it logged; else what ends a traceback, which may be drawn in a box."""
    _, *logged = _LOGGED.split(reply.err)
    errors = [text for level, text in zip(logged[::2], logged[1::2], strict=True) if level in ("ERROR", "CRITICAL")]
    if errors:
        return "; ".join(errors)
    text = (reply.err.strip() or reply.out.strip() or f"exit status {reply.code}").rpartition("╯")
    return text[2] if text[1] else text[2].splitlines()[-1]


def _read(values: dict[str, Any]) -> Attached:
    """A phone from values of its lockdownd."""

    def text(name: str) -> str | None:
        found = values.get(name)
        return found if isinstance(found, str) and found else None

    kind = "iPadOS" if text("DeviceClass") == "iPad" else "iOS"
    build = text("BuildVersion")
    udid = text("UniqueDeviceID") or text("Identifier") or ""
    return Attached(
        udid, name=text("DeviceName") or udid, product=text("ProductType") or "an unknown model", marketing_name=None,
        system=" ".join(filter(None, [kind, text("ProductVersion"), f"({build})" if build else None])),
        architecture=text("CPUArchitecture"), wired=None,
    )  # fmt: skip


def _battery(values: dict[str, Any]) -> BatteryReading | str:
    """A reading of IOPMPowerSource: %, hundredths of a °C, mV, and mA that are negative while it discharges."""

    def number(name: str) -> float | None:
        found = values.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float):
            return None
        # A negative value may arrive as 64 bits without a sign.
        return float(found - 2 * _SIGNED if found >= _SIGNED else found)

    charge, full = number("CurrentCapacity"), number("MaxCapacity") or 100.0
    if charge is None:
        return "the phone does not tell the charge of its battery"
    temperature, current = number("Temperature"), number("InstantAmperage")
    return BatteryReading(
        level=100 * charge / full,
        charging=values.get("IsCharging") is True,
        powered=values.get("ExternalConnected") is True,
        temperature=None if temperature is None else temperature / 100,
        voltage=number("Voltage"),
        current=None if current is None else -current,
    )
