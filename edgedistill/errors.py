"""The four ways edgedistill ends badly, each with the exit code that the command line returns."""


class EdgeDistillError(Exception):
    """Base of every error whose message is written for the user, not for a traceback."""

    exit_code = 1


class UserError(EdgeDistillError):
    """The recipe, an option or the data is wrong; the message says what to change."""

    exit_code = 2


class CheckFailed(EdgeDistillError):
    """A proof, gate or budget did not hold; everything computed so far is kept."""

    exit_code = 3


class DeviceFailed(EdgeDistillError):
    """A device or a third-party runtime crashed, hung or answered nonsense."""

    exit_code = 4
