"""The errors of edgedistill, each with the exit code of the command line."""

from pathlib import Path


class EdgeDistillError(Exception):
    """Base of all errors whose message is for the user; no traceback is shown."""

    exit_code = 1


class UserError(EdgeDistillError):
    """The recipe, an option or the data is wrong; the message says what to change."""

    exit_code = 2


class CheckFailed(EdgeDistillError):
    """A verification, gate or budget failed. Everything that was computed before is kept."""

    exit_code = 3


class DeviceFailed(EdgeDistillError):
    """A device or a third-party runtime crashed, hung, or gave an invalid answer."""

    exit_code = 4


class NotExecuted(DeviceFailed):
    """What executes a format on this machine lacks something that a file asks for. That says nothing of the file."""


class DamagedFile(UserError, ValueError):
    """A file that edgedistill wrote is not what was written: it is empty, cut off, changed or of something else."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path} {found}")


class StorageFailed(EdgeDistillError):
    """The disk is full, or what has to be written there cannot be. What was finished stays, and the same command goes on later."""

    exit_code = 4


STATUS_CODES = {"ok": 0, "check_failed": CheckFailed.exit_code, "runtime_failed": DeviceFailed.exit_code}
"""The exit status of a command by the `status` of its document."""
