"""Signals by their names, for messages."""

import signal


def signal_name(number: int) -> str:
    """SIGKILL for 9; a number that this system has no name for stays one."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
