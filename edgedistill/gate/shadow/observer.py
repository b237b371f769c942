"""Hands exchanges to a process without waiting for it: what it is too busy for is dropped, and counted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from edgedistill.gate.shadow.student import Exchange, Paused
from edgedistill.progress import log

_MOST_BYTES = 64 << 20
"""Of the exchanges that wait."""


class Counts(Protocol):
    """Counts what becomes of exchanges."""

    def add(self, identity: str, found: Mapping[str, Any], ms: float | None) -> str | None:
        """Count what was said of an exchange; what the user should know of it."""

    def drop(self) -> None:
        """Count an exchange that nothing was said of; must not wait."""


class Observer:
    """A thread that asks `ask` about one exchange after the other, and counts in `tally`.

    waiting: most exchanges that wait. changed: called behind each of them. name: what it does, for messages.
    """

    def __init__(
        self, ask: Callable[[Exchange], dict[str, Any]], tally: Counts, waiting: int, changed: Callable[[], object], name: str = "shadow"
    ) -> None:
        self._name = name
        self._ask, self._tally, self._changed = ask, tally, changed
        self._queue = queue.Queue[Exchange | None](maxsize=waiting)
        self._bytes = 0
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def offer(self, exchange: Exchange) -> None:
        """Let an exchange be asked about, if there is room; never waits, and raises nothing."""
        size = len(exchange.request) + len(exchange.response)
        if self._bytes + size > _MOST_BYTES:
            self._tally.drop()
            return
        try:
            self._queue.put_nowait(exchange)
        except queue.Full:
            self._tally.drop()
        else:
            self._add(size)

    def close(self) -> None:
        """End without the exchanges that still wait, which count as dropped."""
        self._ending.set()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join()
        while not self._queue.empty():
            if self._queue.get_nowait() is not None:
                self._tally.drop()

    def _add(self, size: int) -> None:
        with self._lock:
            self._bytes += size

    def _work(self) -> None:
        told = False
        while (exchange := self._queue.get()) is not None:
            if self._ending.is_set():
                self._tally.drop()
                return
            self._add(-len(exchange.request) - len(exchange.response))
            try:
                found = self._ask(exchange)
                if said := self._tally.add(exchange.id, found, exchange.ms):
                    log(said)
                self._changed()
            except Paused:
                self._tally.drop()
            except KeyboardInterrupt:
                # The command ends, and the student's process has ended with it.
                return
            except Exception as error:
                # A full disk, for example: the teacher's answers go on.
                self._tally.drop()
                if not told:
                    log(f"the {self._name} failed ({type(error).__name__}: {error}); the proxy serves on")
                    told = True
