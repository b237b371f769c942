"""Names of signals for messages."""

import signal


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGKILL for 9; `signal N` if the system has no name for it."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
