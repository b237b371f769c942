"""The errors that end the app. Each message says what was found, what was expected, and what to do."""

from typing import ClassVar


class AppError(Exception):
    """Base of the errors that end the app."""

    exit_code: ClassVar[int]

    @property
    def line(self) -> str:
        """The message in one line, whatever a runtime or a driver put into it."""
        return " ".join(str(self).split())


class Mistake(AppError):
    """The command, the bundle or the folder is not what it should be. A new start does not help."""

    exit_code = 2


class SelfTestFailed(AppError):
    """The model gives other outputs here than where it was exported."""

    exit_code = 3


class DeviceFailed(AppError):
    """A runtime or a camera is missing, or failed."""

    exit_code = 4
