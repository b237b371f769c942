"""A meter that is a command of the user. It prints a line for each sample."""

import os
import shlex
import signal
import subprocess
import threading
import time
from array import array
from contextlib import suppress

import numpy as np

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.meters.base import Samples
from edgedistill.measure.runner import bounded

_FIRST_SAMPLE_S = 30.0
_END_S = 5.0
_LONGEST = 1 << 12
_MOST_SAMPLES = 20_000_000
"""An hour at 5 kHz."""


class CommandMeter:
    """Reads lines `watts` or `t,watts` from the standard output of `command`, which runs until SIGTERM ends it.

    t: seconds on any clock of the command. It gives the distances between samples; the line with the shortest delay gives the offset to the
    host's clock. Without t, the time of a sample is the arrival of its line. Lines that begin with # are skipped. The command is split as
    a shell would split it, but runs without a shell.
    """

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)
        if not self._command:
            raise UserError("the command meter needs a command: write command:PROGRAM ARGUMENTS")
        self._arrived, self._fields, self._width = array("d"), array("d"), 0
        self._first, self._wrong, self._last = threading.Event(), "", ""

    def start(self) -> None:
        """Start the command and wait for its first sample. Raises DeviceFailed if none arrives within 30 s."""
        try:
            pipe = subprocess.PIPE
            # Its own group, so that what a command starts ends with it.
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
            )  # fmt: skip
        except OSError as error:
            raise DeviceFailed(f"the meter {shlex.join(self._command)} did not start: {error}") from error
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._read, self._listen)]
        for thread in self._threads:
            thread.start()
        self._first.wait(_FIRST_SAMPLE_S)
        if not self._fields:
            self._end()
            raise self._failed("gave no sample")

    def stop(self) -> Samples:
        """End the command. Raises DeviceFailed if it ended by itself or wrote something else."""
        ended = self._process.poll()
        self._end()
        if self._wrong or ended is not None:
            raise self._failed("wrote a line that is not a sample" if self._wrong else f"ended by itself with exit status {ended}")
        fields, host_s = np.array(self._fields).reshape(-1, self._width), np.array(self._arrived)
        if self._width == 2:
            # A line cannot arrive before its sample was taken, so the smallest delay is closest to zero.
            host_s = fields[:, 0] + (host_s - fields[:, 0]).min()
        order = np.argsort(host_s, kind="stable")
        return Samples(host_s[order], fields[order, -1], shlex.join(self._command))

    def _read(self) -> None:
        assert self._process.stdout
        # A line without end comes in parts, and a part of the samples' size is no sample.
        for line in bounded.pieces(self._process.stdout, _LONGEST):
            arrived, text = time.monotonic(), line.decode(errors="replace").strip()
            if not text or text.startswith("#"):
                continue
            try:
                fields = [float(field) for field in text.split(",")]
            except ValueError:
                fields = []
            width = self._width or len(fields)
            if len(self._arrived) >= _MOST_SAMPLES:
                self._wrong = f"more than {_MOST_SAMPLES:,} samples"
                break
            if not np.isfinite(fields).all() or len(fields) != width or width not in (1, 2):
                self._wrong = text[:100]
                break
            self._width = width
            self._arrived.append(arrived)
            self._fields.extend(fields)
            self._first.set()
        if self._wrong:
            # Nobody reads on.
            bounded.kill_group(self._process)
        self._first.set()

    def _listen(self) -> None:
        """Keep the last line of stderr, and drop the others: a pipe that nobody reads stops the command."""
        assert self._process.stderr
        for line in bounded.pieces(self._process.stderr):
            self._last = line.decode(errors="replace").strip()[-300:] or self._last

    def _end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        bounded.kill_group(self._process)
        for thread in self._threads:
            thread.join(_END_S)

    def _failed(self, what: str) -> DeviceFailed:
        detail = f": expected lines of watts or t,watts, found {self._wrong!r}" if self._wrong else f": {self._last}" if self._last else ""
        return DeviceFailed(f"the meter {shlex.join(self._command)} {what}{detail}")
