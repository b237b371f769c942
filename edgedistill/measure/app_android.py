"""An app on an Android phone: a script on the phone starts and watches it, beneath the runner; the link may drop meanwhile."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import scratch
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import app_runner, harness
from edgedistill.measure.job import ProgramJob

if TYPE_CHECKING:
    from edgedistill.measure.devices.base import Device
    from edgedistill.measure.harness import Protocol
    from edgedistill.measure.places import Place
    from edgedistill.measure.runner.record_types import Record

ACTIVITY = ".MeasureActivity"
SHELL = "/system/bin/sh"
_ADAPTER = "edgedistill.measure.runner.program"
_TIMEOUT_S = 3600.0
_PIECE = 4 << 20
_NAME = re.compile(r"([A-Za-z]\w*(?:\.[A-Za-z]\w*)+)(?:/(\.?[A-Za-z]\w*(?:\.[A-Za-z]\w*)*))?", re.ASCII)

# It runs on the phone beneath the runner, which has seen to preflight and cool-down and reads the sensors. So it needs no link. The file
# is read in the three ways that Android has for the shell's user, and the first one that gives something is kept.
_SCRIPT = r"""
package=$1 component=$2 job=$3 out=$4 stall=$5 limit=$6
tell() { printf 'edgedistill:%s\n' "$*"; }
now() { cut -d. -f1 /proc/uptime; }
last() {
    case $1 in
        run-as) run-as "$package" tail -n 1 "files/$out";;
        files) tail -n 1 "/sdcard/Android/data/$package/files/$out";;
        content) content read --uri "content://$package.edgedistill/$out" | tail -n 1;;
    esac 2>/dev/null </dev/null | head -c 300
}
trap 'am force-stop "$package" </dev/null >/dev/null 2>&1' EXIT
trap 'exit 143' TERM INT HUP
am force-stop "$package" </dev/null >/dev/null 2>&1
answer=$(am start -W -n "$component" --es job "$job" </dev/null 2>&1 | head -c 4000)
printf '%s\n' "$answer" | sed 's/^/edgedistill:am /'
if printf '%s\n' "$answer" | grep -Eq '^(Error|Exception|Security|java\.)|Permission Denial'; then
    tell state not-started
    exit 0
fi
began=$(now) changed=$(now) seen= way= pid= gone=0 state=
while [ -z "$state" ]; do
    found=$(pidof "$package")
    if [ -n "$found" ]; then pid=${found%% *} gone=0; else gone=$((gone + 1)); fi
    for one in ${way:-run-as files content}; do
        line=$(last $one)
        [ -n "$line" ] && way=$one && break
    done
    [ "$line" != "$seen" ] && seen=$line changed=$(now)
    case $line in
        *'"type":"end"'* | *'"type": "end"'* | *'"type":"error"'* | *'"type": "error"'*) state=ended;;
        *)
            if [ $gone -ge 3 ]; then state=died
            elif [ $(($(now) - changed)) -ge "$stall" ]; then state=stalled
            elif [ $(($(now) - began)) -ge "$limit" ]; then state=slow
            fi;;
    esac
    # A provider has no end of a file to read only that.
    [ -n "$state" ] || if [ "$way" = content ]; then sleep 5; else sleep 1; fi
done
tell state $state
tell way $way
tell pid $pid
if [ $state != ended ]; then
    # An app that crashes at once has no process that could be seen.
    from=--buffer=crash
    [ -n "$pid" ] && from=--pid=$pid
    logcat -d -t 200 -v tag "$from" 2>/dev/null </dev/null | tail -n 30 | head -c 4000 | sed 's/^/edgedistill:log /'
fi
exit 0
"""
_READ = {
    "run-as": "run-as {package} tail -c +{offset} files/{out}",
    "files": "tail -c +{offset} /sdcard/Android/data/{package}/files/{out}",
    "content": "content read --uri content://{package}.edgedistill/{out} | tail -c +{offset}",
}
# Without the way that was found: whatever of it works.
_CLEAN = """
am force-stop {package}
run-as {package} rm -f files/{out}
rm -f /sdcard/Android/data/{package}/files/{out}
true
"""


@dataclass(frozen=True)
class App:
    """An installed app. `component` is its measuring screen as `am` takes it."""

    package: str
    component: str
    version: str
    version_code: str
    debuggable: bool

    @property
    def build(self) -> str:
        """Says in a measurement what was measured."""
        kind = "debuggable" if self.debuggable else "release"
        return f"app {self.package} {self.version} (versionCode {self.version_code}), {kind} build"


@dataclass(frozen=True, kw_only=True)
class AppJob(ProgramJob):
    """Measure a file in an app. `artifact` is the script that starts it, since the app has the file itself."""

    model: Path
    component: str

    def __str__(self) -> str:
        return f"{self.model} with {self.component}"


@dataclass(frozen=True)
class Told:
    """What the script on the phone tells of the app: how it ended, the way to its file, its process, am's answer and its log."""

    state: str
    way: str
    pid: str
    answer: str
    log: str


@contextmanager
def opened(name: str, spec: str, protocol: Protocol) -> Iterator[app_runner.Ready]:
    """Take the phone `spec`, with the app `name`, PACKAGE or PACKAGE/ACTIVITY; see `app_runner.bench_app`."""
    from edgedistill.measure.devices import open_device
    from edgedistill.measure.places import place

    app = installed(open_device(spec), name)
    with place(spec, python=protocol.python, mirror=protocol.mirror) as where:
        yield app_runner.Ready(where.facts, app.component, app.build, lambda run: _measure(where, app, protocol, run))


def installed(device: Device, name: str) -> App:
    """The app PACKAGE or PACKAGE/ACTIVITY on the phone. Raises UserError for another name, and for one that is not installed."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise UserError(f"--app: found '{name}', expected a package such as org.example.app, or org.example.app/.MeasureActivity")
    package = found[1]
    text = device.sh(f"dumpsys package {shlex.quote(package)}").out
    _, mark, of_it = text.partition(f"Package [{package}]")
    code = re.search(r"\bversionCode=(\d+)", of_it)
    if not mark or code is None:
        raise UserError(f"{device.spec} has no app {package}: install it, as with `adb install app.apk`, and look at its applicationId")
    version = re.search(r"\bversionName=(\S+)", of_it)
    flags = re.search(r"\b(?:pkgFlags|flags)=\[([^\]]*)\]", of_it)
    return App(
        package, f"{package}/{found[2] or ACTIVITY}", version[1] if version else "without versionName", code[1],
        debuggable=flags is not None and "DEBUGGABLE" in flags[1].split(),
    )  # fmt: skip


def _measure(where: Place, app: App, protocol: Protocol, run: app_runner.Run) -> app_runner.Watched:
    from edgedistill.measure import app_records
    from edgedistill.measure.metering import metering
    from edgedistill.measure.runner.program import MODEL

    spec, out = where.facts.spec, app_runner.out_path(run.nonce)
    with scratch.temporary() as folder:
        script = folder / "app.sh"
        script.write_text(_SCRIPT)
        job = AppJob(
            adapter=_ADAPTER, artifact=script, binary=SHELL, libraries={}, conditions=protocol.conditions, nonce=run.nonce,
            model=run.model, component=app.component,
            arguments=[MODEL, app.package, app.component, run.job, out, str(app_runner.STALL_S), str(app_runner.LIMIT_S)],
        )  # fmt: skip
        try:
            with metering(protocol.meter, where.device) as power:
                own = where.run(job, log=harness.log_path(spec), timeout_s=_TIMEOUT_S, records=run.kept, seen=_tell, reduce=list)
                meters = power(own)
            written = _collected(where.device, app, run.nonce, _told(own), run.kept)
        finally:
            _clean(where.device, app, out)
    return app_runner.Watched(own, app_records.read(written, run.nonce), meters)


def _tell(records: list[Record]) -> None:
    """Log the phases that the device enters."""
    said = {"cooldown": "cooling down", "idle": "resting, to know the power of the idle device", "work": "the app measures"}
    for record in records:
        if record["type"] == "phase" and record["name"] in said:
            harness.log(said[record["name"]])


def _told(own: list[Record]) -> Told:
    """What the script printed into the `program` record."""
    text = next(record["text"] for record in own if record["type"] == "program")
    lines = [line.removeprefix("edgedistill:").partition(" ") for line in text.splitlines() if line.startswith("edgedistill:")]

    def of(word: str) -> str:
        return "\n".join(rest.rstrip() for name, _, rest in lines if name == word).strip()

    return Told(of("state"), of("way"), of("pid"), of("am"), of("log"))


def _collected(device: Device, app: App, nonce: str, told: Told, kept: Path) -> bytes:
    """The bytes that the app wrote, which are also added to `kept`. Raises DeviceFailed if it did not come to an end."""
    data = _fetch(device, app, app_runner.out_path(nonce), told.way) if told.way in _READ else b""
    with open(kept, "ab") as handle:
        handle.write(data)
    if told.state == "ended":
        return data
    answer = told.answer
    if told.state == "not-started":
        activity = app.component.partition("/")[2]
        if "does not exist" in answer or "not found" in answer:
            raise DeviceFailed(
                f"{app.package} has no {activity}: build it with the measuring screen of docs/devices.md, or name another activity"
            )
        if "Permission Denial" in answer or "not exported" in answer:
            raise DeviceFailed(f"adb may not start {app.component}: export it, for android.permission.DUMP; am said: {_line(answer)}")
        raise DeviceFailed(f"{app.component} did not start; am said: {_line(answer)}")
    log = f"; the last lines of its log:\n{told.log}" if told.log else ""
    if told.state == "died" and not told.pid:
        raise DeviceFailed(f"no process of {app.package} was seen; am said: {_line(answer)}{log}")
    name = f"{app.package} (process {told.pid})" if told.state == "died" else app.package
    if told.state in ("died", "stalled", "slow"):
        raise DeviceFailed(f"{app_runner.unfinished(name, told.state, data)}{log}")
    raise DeviceFailed(f"the script on the phone did not say how the app ended: {told}")


def _fetch(device: Device, app: App, out: str, way: str) -> bytes:
    """The file of the app, in pieces. As base64: a shell of adb may change bytes, and a piece may end within a character."""
    from edgedistill.measure.records import RECORDS_LIMIT
    from edgedistill.measure.session import RECONNECT_S, patiently

    data = bytearray()
    while True:
        script = _READ[way].format(package=shlex.quote(app.package), out=shlex.quote(out), offset=len(data) + 1)
        reply = patiently(device, RECONNECT_S, lambda script=script: device.sh(f"{script} | head -c {_PIECE} | base64"))  # type: ignore[misc]
        try:
            piece = base64.b64decode("".join(reply.out.split()), validate=True)
        except (ValueError, binascii.Error) as error:
            raise DeviceFailed(f"the app's records could not be read by {way}: {_line(reply.out)}") from error
        data += piece
        if len(data) > RECORDS_LIMIT:
            raise DeviceFailed(f"the app wrote more than {RECORDS_LIMIT >> 20} MiB of records")
        if len(piece) < _PIECE:
            return bytes(data)


def _clean(device: Device, app: App, out: str) -> None:
    """End the app and remove its records. The file of a `content` provider stays; the app removes it itself."""
    from edgedistill.measure.devices.commands import without_interrupts
    from edgedistill.measure.session import patiently

    script = _CLEAN.format(package=shlex.quote(app.package), out=shlex.quote(out))
    with without_interrupts():
        try:
            patiently(device, 20.0, lambda: device.sh(script, timeout_s=30))
        except DeviceFailed as error:
            harness.log(f"{error}; {app.package} was not ended, and its file {out} is left")


def _line(text: str) -> str:
    """The most telling line of what a tool said."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"Error|Exception|denied|Denial|warning", line, re.IGNORECASE)]
    return (telling or lines or ["nothing"])[-1][:300]
