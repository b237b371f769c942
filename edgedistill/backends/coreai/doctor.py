"""What the command doctor says of Core AI: its packages exist for few machines."""

import platform
import sys

from edgedistill.packages import installed
from edgedistill.records.doctor import Row, row

_WHEELS = "Linux on x86-64 with glibc 2.34 or later, or macOS 26 or later on Apple silicon, with Python 3.11 to 3.13"


def rows() -> list[Row]:
    """Whether files of Core AI can be made and executed here, and what executes them."""
    needed_for = "export and verify of Core AI files"
    there = installed(("coreai-core",))
    if why := _why_not():
        return [row("Core AI packages", "missing", f"coreai-core has none for {why}", needed_for, _WHEELS)]
    if not there:
        return [row("Core AI packages", "missing", "coreai-core is not installed", needed_for, "pip install 'edgedistill[coreai]'")]
    mac = platform.mac_ver()[0]
    runs_it = f"macOS {mac}" if mac and int(mac.split(".")[0]) >= 27 else "its interpreter, whose times are not those of a device"
    return [row("Core AI packages", "ok", f"coreai-core {there['coreai-core']}; files are executed by {runs_it}", needed_for)]


def _why_not() -> str | None:
    """The kind of this machine, where it is one that has no packages."""
    system, machine = platform.system(), platform.machine().lower()
    if (system, machine) not in (("Linux", "x86_64"), ("Darwin", "arm64")):
        return f"{system} on {machine}"
    if system == "Linux":
        name, version = platform.libc_ver()
        if name != "glibc":
            return "Linux without glibc, such as musl"
        if tuple(map(int, version.split(".")[:2])) < (2, 34):
            return f"glibc {version}"
    elif int(platform.mac_ver()[0].split(".")[0]) < 26:
        return f"macOS {platform.mac_ver()[0]}"
    return f"Python {platform.python_version()}" if sys.version_info >= (3, 14) else None
