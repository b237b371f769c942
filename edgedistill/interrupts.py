"""Lets Ctrl-C, SIGTERM and a closed terminal end a command soon and with all its children."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from edgedistill import child

LIMIT_S = 2.0
"""How long a command may take to end by itself; what it wrote is whole at any time."""
_AGAIN_S = 0.05
"""Seconds until an interrupt that Python dropped is raised again."""
EXIT_CODE = 130
MESSAGE = "interrupted; the same command continues from here"
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handled(late: Callable[[], None] | None) -> Iterator[None]:
    """Let the signals raise KeyboardInterrupt in the main thread, after all children were told to end.

    late: called, before the process is ended, where it has not ended by itself within 2 s: while a library computes, no exception is
    raised. None lets it take its time, as a measurement does that restores settings of a device.

    A signal that is ignored stays so, as SIGHUP is by nohup. Outside of the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.signal(number, _interrupt) for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    earlier = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    hook, sys.unraisablehook = sys.unraisablehook, _raise_again
    if late is not None:
        threading.Thread(target=_watch, args=(reader, late), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier)
        sys.unraisablehook = hook
        for number, handler in kept.items():
            signal.signal(number, handler)
        # It ends the thread, unless that has a signal already.
        os.close(writer)


def _interrupt(number: int, frame: object) -> None:
    child.end_all()
    raise KeyboardInterrupt


def _raise_again(dropped: Any) -> None:
    """Interrupt once more where Python dropped the exception, as it does in finalizers and in what a library runs around a fork."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    # Not at once: the exception would be raised in here, and dropped too.
    again = threading.Timer(_AGAIN_S, _interrupt_unless_ended)
    again.daemon = True
    again.start()


def _interrupt_unless_ended() -> None:
    if sys.unraisablehook is _raise_again:
        os.kill(os.getpid(), signal.SIGINT)


def _watch(reader: int, late: Callable[[], None]) -> None:
    # The pipe gets the number of each signal at once, whatever the main thread does.
    while (received := os.read(reader, 1)) and received[0] not in _ENDING:
        pass
    os.close(reader)
    if not received:
        return
    child.end_all()
    time.sleep(LIMIT_S)
    child.kill_all()
    with suppress(Exception):
        late()
    os._exit(EXIT_CODE)
