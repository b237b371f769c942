"""iPhones through devicectl, which comes with Xcode 15 and later, on a Mac. Apple promises to keep its JSON output, and only that."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edgedistill import scratch
from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices.commands import call
from edgedistill.measure.ios import pymobiledevice
from edgedistill.measure.ios.base import DOCUMENTS, NO_BATTERY, Attached, BatteryReading, InstalledApp, UnknownIphone
from edgedistill.measure.ios.refusals import LOCKED, NO_DEVELOPER_MODE, NOT_PAIRED, raised
from edgedistill.measure.runner.bounded import LIMIT

_ANSWER_S = 60
_INSTALL_S = 900
# It adds some seconds of its own to what --timeout says.
_GRACE_S = 30
_SYSTEMS = {"iOS": "iOS", "iPadOS": "iPadOS"}


def is_here() -> bool:
    """Whether this machine has devicectl."""
    return shutil.which("xcrun") is not None and call(["xcrun", "--find", "devicectl"], timeout_s=_ANSWER_S).code == 0


def attached() -> list[Attached]:
    """The iPhones and iPads that this Mac knows. Raises DeviceFailed if devicectl fails."""
    phones = [_read(entry) for entry in _list(_run("", "list", "devices"), "devices")]
    return [phone for phone in phones if phone is not None]


class Devicectl:
    """A phone by its UDID."""

    def __init__(self, udid: str) -> None:
        self.udid = udid

    @property
    def spec(self) -> str:
        """ios:UDID."""
        return f"ios:{self.udid}"

    def about(self) -> Attached:
        """What it is; see `base.Iphone`."""
        listed = {phone.udid.lower() for phone in attached()}
        if self.udid.lower() not in listed:
            others = ", ".join(sorted(listed)) or "none"
            raise UnknownIphone(f"{self.spec} is not known to this Mac; devicectl lists {others}")
        # The list is what was known of the phone before; this asks it.
        phone = _read(self._device("info", "details"))
        if phone is None:
            raise UnknownIphone(f"{self.spec} is no iPhone or iPad")
        if phone.refused is None and self._device("info", "lockState").get("passcodeRequired") is True:
            return replace(phone, refused=LOCKED)
        return phone

    def battery(self) -> BatteryReading | str:
        """A reading of the battery; see `base.Iphone`. devicectl has no command for it, pymobiledevice3 has."""
        program = pymobiledevice.program()
        return NO_BATTERY if program is None else pymobiledevice.Pymobiledevice(self.udid, program).battery()

    def install(self, package: Path) -> None:
        """Install an .ipa or .app; see `base.Iphone`."""
        self._device("install", "app", rest=[str(package)], timeout_s=_INSTALL_S)

    def installed(self, bundle: str) -> InstalledApp | None:
        """The app; see `base.Iphone`."""
        app = self._app(bundle)
        if app is None:
            return None
        made = app.get("builtByDeveloper")
        return InstalledApp(
            bundle, _text(app.get("version")) or "without a version", _text(app.get("bundleVersion")) or "none",
            development=made if isinstance(made, bool) else None,
        )  # fmt: skip

    def start(self, bundle: str, environment: dict[str, str]) -> None:
        """Start an app; see `base.Iphone`."""
        # What stands behind the bundle identifier are arguments of the app.
        rest = ["--terminate-existing", "--environment-variables", json.dumps(environment), bundle]
        self._device("process", "launch", rest=rest)

    def running(self, bundle: str) -> bool:
        """Whether the app has a process; see `base.Iphone`."""
        return self._process(bundle) is not None

    def terminate(self, bundle: str) -> None:
        """End the app; see `base.Iphone`."""
        if (process := self._process(bundle)) is not None:
            self._device("process", "terminate", rest=["--pid", str(process), "--kill"])

    def pull(self, bundle: str, path: str, limit: int) -> bytes:
        """The content of a file; see `base.Iphone`."""
        with scratch.temporary() as folder:
            target = folder / "pulled"
            self._device("copy", "from", rest=_copied(bundle, f"{DOCUMENTS}/{path}", str(target)), files={target: limit})
            if not target.is_file():
                raise DeviceFailed(f"{self.spec}: devicectl copied nothing from {DOCUMENTS}/{path} of {bundle}")
            return target.read_bytes()

    def push(self, bundle: str, data: bytes, path: str) -> None:
        """Write a file; see `base.Iphone`."""
        with scratch.temporary() as folder:
            source = folder / Path(path).name
            source.write_bytes(data)
            self._device("copy", "to", rest=_copied(bundle, str(source), f"{DOCUMENTS}/{path}"))

    def reconnect(self) -> None:
        """Nothing: each command connects anew."""

    def _app(self, bundle: str) -> dict[str, Any] | None:
        apps = _list(self._device("info", "apps", rest=["--include-all-apps", "--bundle-id", bundle]), "apps")
        return next((app for app in apps if app.get("bundleIdentifier") == bundle), None)

    def _process(self, bundle: str) -> int | None:
        """The id of the app's own process, which lies directly in its folder; extensions lie deeper."""
        app = self._app(bundle)
        if app is None or (folder := _path(app.get("url"))) is None:
            return None
        for process in _list(self._device("info", "processes"), "runningProcesses"):
            number, path = process.get("processIdentifier"), _path(process.get("executable"))
            if isinstance(number, int) and path is not None and path.rpartition("/")[0] == folder:
                return number
        return None

    def _device(
        self, group: str, command: str, *, rest: list[str] | None = None, timeout_s: int = _ANSWER_S, files: dict[Any, int] | None = None
    ) -> dict[str, Any]:  # fmt: skip
        return _run(self.spec, "device", group, command, "--device", self.udid, rest=rest, timeout_s=timeout_s, files=files)


def _run(
    spec: str, *words: str, rest: list[str] | None = None, timeout_s: int = _ANSWER_S, files: dict[Any, int] | None = None
) -> dict[str, Any]:  # fmt: skip
    """The `result` of a command of devicectl. Raises what its error stands for."""
    with scratch.temporary() as folder:
        answer = folder / "answer.json"
        options = ["--json-output", str(answer), "--timeout", str(timeout_s)]
        line = ["xcrun", "devicectl", *words, *options, *(rest or [])]
        reply = call(line, timeout_s=timeout_s + _GRACE_S, files={answer: LIMIT, **(files or {})})
        try:
            document = json.loads(answer.read_bytes())
        except (OSError, ValueError, RecursionError):
            document = {}
    document = document if isinstance(document, dict) else {}
    result = document.get("result")
    if reply.code == 0 and isinstance(result, dict):
        return result
    said = _said(document.get("error")) or reply.err.strip() or reply.out.strip()
    if reply.code == 0 and not said:
        raise DeviceFailed(f"`devicectl {' '.join(words[:3])}` gave no JSON that this version knows: update Xcode or edgedistill")
    raise raised(spec, said or f"devicectl ended with exit status {reply.code}", "devicectl")


def _said(error: object, depth: int = 0) -> str:
    """The descriptions in an error of devicectl and in those below it, as one line."""
    if not isinstance(error, dict) or depth > 8:
        return ""
    about = error.get("userInfo")
    about = about if isinstance(about, dict) else {}
    names = ("NSLocalizedDescription", "NSLocalizedFailureReason", "BSErrorCodeDescription")
    texts = [text for name in names if (text := _string(about.get(name)))]
    below = about.get("NSUnderlyingError")
    deeper = _said(below.get("error") if isinstance(below, dict) else None, depth + 1)
    return ": ".join(dict.fromkeys(part for part in (*texts, deeper) if part))


def _string(value: object) -> str:
    """A string as devicectl writes those of an error: {"string": TEXT}."""
    found = value.get("string") if isinstance(value, dict) else value
    return found if isinstance(found, str) else ""


def _list(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    entries = result.get(name)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _read(entry: dict[str, Any]) -> Attached | None:
    """A phone of `list devices` or `info details`; None for another kind of device, a simulator, and one without a UDID.

    Version 5 of the JSON (Xcode 27) has `properties`; what older ones have will be removed from it.
    """

    def of(*paths: str) -> Any:
        return next((found for path in paths if (found := _at(entry, path)) not in (None, "")), None)

    udid = of("properties.hardware.udid", "hardwareProperties.udid")
    system = of("properties.hardware.platform", "hardwareProperties.platform")
    reality = of("properties.hardware.reality", "hardwareProperties.reality")
    if not isinstance(udid, str) or system not in _SYSTEMS or reality not in (None, "physical"):
        return None
    version = of("properties.software.osVersionNumber.stringValue", "deviceProperties.osVersionNumber")
    build = of("deviceProperties.osBuildUpdate")
    transport = of("properties.connection.transportType", "connectionProperties.transportType")
    mode = of("properties.state.developerModeStatus", "deviceProperties.developerModeStatus")
    state = of("properties.connection.state", "connectionProperties.tunnelState")
    refused = None
    if of("properties.connection.pairingState", "connectionProperties.pairingState") not in (None, "paired"):
        refused = NOT_PAIRED
    elif mode == "disabled" or (isinstance(mode, dict) and "disabled" in mode):
        refused = NO_DEVELOPER_MODE
    elif state == "unavailable":
        refused = "this Mac does not reach it: connect it by a cable, or to the same network, and unlock it"
    return Attached(
        udid,
        name=_text(of("properties.state.name", "deviceProperties.name")) or udid,
        product=_text(of("properties.hardware.productType", "hardwareProperties.productType")) or "an unknown model",
        marketing_name=_text(of("properties.hardware.marketingName", "hardwareProperties.marketingName")),
        system=" ".join(filter(None, [_SYSTEMS[system], _text(version), f"({build})" if build else None])),
        architecture=_text(of("properties.hardware.cpuType.name", "hardwareProperties.cpuType.name")),
        wired=None if transport is None else transport == "wired",
        refused=refused,
    )


def _at(entry: object, path: str) -> object:
    for key in path.split("."):
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _path(url: object) -> str | None:
    """The path of a file:// URL on the phone; /var is a link to /private/var there."""
    path = unquote(urlsplit(url).path).rstrip("/") if isinstance(url, str) else ""
    return path.removeprefix("/private") or None


def _copied(bundle: str, source: str, target: str) -> list[str]:
    domain = ["--domain-type", "appDataContainer", "--domain-identifier", bundle]
    return [*domain, "--source", source, "--destination", target]
