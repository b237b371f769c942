"""Android phones, through the standard adb client, always with -s."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices import transfer
from edgedistill.measure.devices.base import LinkLost, Reply
from edgedistill.measure.devices.commands import call, unwrap, with_exit_code

_TRANSFER_S = 1800.0
# Messages of the client about the link, as opposed to the command.
_LINK = re.compile(
    r"not found|offline|closed|no devices|protocol fault|connect(ion)? (failed|reset|refused)|cannot connect|failed to (connect|read)", re.I
)
_REFUSED = {
    "unauthorized": "it has not allowed this computer: unlock the phone and accept the question about USB debugging",
    "no permissions": "this user may not open the USB device: add udev rules for it, and replug it",
}


class AdbDevice:
    """A phone, by its serial number; a wireless one is host:port."""

    root = "/data/local/tmp/edgedistill"

    def __init__(self, serial: str) -> None:
        self.serial = serial

    @property
    def spec(self) -> str:
        """adb:SERIAL."""
        return f"adb:{self.serial}"

    def sh(self, script: str, *, timeout_s: float = 60) -> Reply:
        """Run a script by the phone's shell; see `base.Device`."""
        wrapped, word = with_exit_code(script)
        reply = call(["adb", "-s", self.serial, "shell", wrapped], timeout_s=timeout_s)
        self._check(reply)
        return unwrap(reply, word, f"{self.spec}: the link dropped before the command had ended")

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the phone; see `base.Device`."""
        transfer.push(self, source, target, lambda path, part: self._copy("push", str(path), part))

    def pull(self, source: str, target: Path) -> None:
        """Copy a file from the phone; see `base.Device`."""
        transfer.pull(self, source, target, lambda path, part, size: self._copy("pull", path, str(part), files={part: size}))

    def reconnect(self) -> None:
        """Ask the client to reconnect a wireless phone. A phone on a cable reconnects by itself."""
        if re.fullmatch(r"\S+:\d+", self.serial):
            # Without the disconnect adb may answer "already connected" for a dead transport.
            call(["adb", "disconnect", self.serial], timeout_s=20)
            call(["adb", "connect", self.serial], timeout_s=20)

    def _copy(self, *arguments: str, files: Mapping[Path | IO[bytes], int] | None = None) -> str:
        reply = call(["adb", "-s", self.serial, *arguments], timeout_s=_TRANSFER_S, files=files)
        message = (reply.err.strip() or reply.out.strip()).splitlines()
        if reply.code:
            self._check(reply)
        return message[-1] if reply.code and message else ""

    def _check(self, reply: Reply) -> None:
        """Raise the error that a message of the client stands for. Messages of the script on stderr do not count."""
        message = reply.err.strip()
        client = [line for line in message.splitlines() if line.startswith(("adb: ", "error: ", "- waiting"))]
        for sign, meaning in _REFUSED.items():
            if any(sign in line for line in client):
                raise DeviceFailed(f"{self.spec}: {meaning}")
        if client and _LINK.search(client[-1]):
            raise LinkLost(f"{self.spec}: {client[-1].removeprefix('adb: ').removeprefix('error: ')}")


def attached() -> list[dict[str, str]]:
    """The phones that `adb devices -l` lists: serial, state, model.

    Raises DeviceFailed if adb is missing or fails.
    """
    reply = call(["adb", "devices", "-l"], timeout_s=30)
    if reply.code:
        raise DeviceFailed(f"adb devices: {reply.err.strip() or reply.out.strip()}")
    phones = []
    for line in reply.out.splitlines():
        # A serial has no blanks; a state may have two words, such as "no permissions".
        row = re.match(
            r"(\S+)\s+(device|offline|unauthorized|recovery|sideload|bootloader|authorizing|connecting|no permissions)\b(.*)", line
        )
        if row:
            model = re.search(r"\bmodel:(\S+)", row[3])
            phones.append({"serial": row[1], "state": row[2], "model": model[1].replace("_", " ") if model else ""})
    return phones


def refusal(state: str) -> str | None:
    """Why a phone in this state of `adb devices` can't be used, and what to do; None for one that can."""
    if state == "device":
        return None
    return _REFUSED.get(state, f"adb says it is {state}: wait, or replug it, or `adb reconnect`")
