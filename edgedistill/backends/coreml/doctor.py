"""What the command doctor says of Core ML: coremltools brings its bindings on macOS only."""

import platform

from edgedistill.records.doctor import Row, row


def rows() -> list[Row]:
    """Whether Core ML itself is here."""
    needed_for = "latency of Core ML files, arithmetic of the Neural Engine"
    if platform.system() == "Darwin":
        return [row("Core ML execution", "ok", f"macOS {platform.mac_ver()[0]}", needed_for)]
    found = f"{platform.system()} has no Core ML; verify executes its programs operator by operator"
    return [row("Core ML execution", "missing", found, needed_for, "a Mac")]
