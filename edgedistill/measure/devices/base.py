"""What every device can do, however it is reached."""

from pathlib import Path
from typing import NamedTuple, Protocol

from edgedistill.errors import DeviceFailed


class Reply(NamedTuple):
    """What a command on a device ended with: its own exit code, and what it wrote."""

    code: int
    out: str
    err: str


class LinkLost(DeviceFailed):
    """The link to a device dropped, or the device is gone; what was started on it may go on."""


class Device(Protocol):
    """A machine that runs commands and takes files."""

    @property
    def spec(self) -> str:
        """How the user names it: local, adb:SERIAL, ssh:user@host[:port]."""

    @property
    def root(self) -> str:
        """The folder on the device that is edgedistill's, as an absolute path."""

    def sh(self, script: str, *, timeout_s: float = 60) -> Reply:
        """Run a POSIX shell script on the device and wait for it.

        Raises LinkLost when the link dropped before the script's own exit code arrived, DeviceFailed when `timeout_s` passed.
        """

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the path `target`, which is complete or as it was. Raises LinkLost, or DeviceFailed when the disk is full."""

    def pull(self, source: str, target: Path) -> None:
        """Copy a file from the device to `target`, which is complete or as it was. Raises LinkLost, or DeviceFailed when it is missing."""

    def reconnect(self) -> None:
        """Try to make a dropped link anew; whether it worked is told by the next `sh`."""
