"""A meter that is a command of the user. It prints a line for each sample."""

import shlex
import subprocess
import threading
import time

import numpy as np

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.meters.base import Samples

_FIRST_SAMPLE_S = 30.0
_END_S = 5.0


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
        self._arrived: list[float] = []
        self._fields: list[list[float]] = []
        self._first, self._wrong = threading.Event(), ""

    def start(self) -> None:
        """Start the command and wait for its first sample. Raises DeviceFailed if none arrives within 30 s."""
        try:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise DeviceFailed(f"the meter {shlex.join(self._command)} did not start: {error}") from error
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._first.wait(_FIRST_SAMPLE_S)
        if not self._fields:
            self._end()
            raise self._failed("gave no sample")

    def stop(self) -> Samples:
        """End the command. Raises DeviceFailed if it ended by itself or wrote something else."""
        ended = self._process.poll()
        self._end()
        if self._wrong or ended is not None:
            raise self._failed(f"ended by itself with exit status {ended}" if ended is not None else "wrote a line that is not a sample")
        fields, host_s = np.array(self._fields), np.array(self._arrived)
        if fields.shape[1] == 2:
            # A line cannot arrive before its sample was taken, so the smallest delay is closest to zero.
            host_s = fields[:, 0] + (host_s - fields[:, 0]).min()
        order = np.argsort(host_s, kind="stable")
        return Samples(host_s[order], fields[order, -1], shlex.join(self._command))

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            arrived, text = time.monotonic(), line.decode(errors="replace").strip()
            if not text or text.startswith("#"):
                continue
            try:
                fields = [float(field) for field in text.split(",")]
            except ValueError:
                fields = []
            width = len(self._fields[0]) if self._fields else len(fields)
            if not np.isfinite(fields).all() or len(fields) != width or width not in (1, 2):
                self._wrong = text[:100]
                break
            self._arrived.append(arrived)
            self._fields.append(fields)
            self._first.set()
        self._first.set()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_END_S)

    def _failed(self, what: str) -> DeviceFailed:
        assert self._process.stderr
        last = self._process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        detail = f": expected lines of watts or t,watts, found {self._wrong!r}" if self._wrong else f": {last[0]}" if last else ""
        return DeviceFailed(f"the meter {shlex.join(self._command)} {what}{detail}")
