"""The interface of every device, independent of its connection."""

from pathlib import Path
from typing import NamedTuple, Protocol

from edgedistill.errors import DeviceFailed


class Reply(NamedTuple):
    """The result of a command on a device: its own exit code and its output."""

    code: int
    out: str
    err: str


class LinkLost(DeviceFailed):
    """The link to a device dropped, or the device is gone. What was started on it may continue."""


class NoAnswer(DeviceFailed):
    """A client had not answered in time; the device may be busy, locked or gone."""


class Reached(Protocol):
    """What a link leads to, which may drop."""

    @property
    def spec(self) -> str:
        """How the user names it: local, adb:SERIAL, ssh:user@host[:port], ios:UDID."""

    def reconnect(self) -> None:
        """Try to restore a dropped link. The next call shows whether it worked."""


class Device(Reached, Protocol):
    """A machine that runs commands and takes files."""

    @property
    def root(self) -> str:
        """The absolute path of edgedistill's folder on the device."""

    def sh(self, script: str, *, timeout_s: float = 60) -> Reply:
        """Run a POSIX shell script on the device and wait for it.

        Raises LinkLost if the link dropped before the script's own exit code arrived, DeviceFailed if `timeout_s` passed.
        """

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the path `target`, completely or not at all. Raises LinkLost, or DeviceFailed if the disk is full."""

    def pull(self, source: str, target: Path) -> None:
        """Copy a file from the device to `target`, completely or not at all. Raises LinkLost, or DeviceFailed if it is missing."""
