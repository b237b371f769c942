"""Reads what other programs print, up to a limit: one that prints without end is stopped, instead of filling memory or disk.

It stands with the runner, which has nothing else of the project on a device, and the host reads its own children by it too.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Union

LIMIT = 32 << 20
"""Bytes that a program may print where nothing else is said; the answers of tools and devices are some kilobytes."""
LOG_LIMIT = 64 << 20
"""Bytes of a log that a program may write."""
LONGEST_LINE = 4 << 20

_CHUNK = 1 << 16
_LOOK_S = 0.1

# Written for the oldest Python that `available` meets on a device.
Growing = Union[Path, IO[bytes]]  # noqa: UP007


class TooMuchOutput(subprocess.SubprocessError):
    """A program printed more than it may, and was stopped."""


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    limit: int = LIMIT,
    stdin: bytes = b"",
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `command`, wait for it, and return its exit status and what it printed; bytes that are not UTF-8 are replaced.

    Its process group has ended when this returns or raises. Raises OSError when it does not start, subprocess.TimeoutExpired after
    `timeout_s`, and TooMuchOutput when it prints more than `limit` bytes to stdout and stderr together.
    """
    with tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=given, stdout=pipe, stderr=pipe, cwd=cwd, env=env, start_new_session=True)
        out, err = follow(process, timeout_s=timeout_s, limit=limit)
    return subprocess.CompletedProcess(command, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def follow(
    process: subprocess.Popen[bytes],
    *,
    timeout_s: float,
    limit: int = LIMIT,
    files: Mapping[Growing, int] | None = None,
    look: Callable[[], None] | None = None,
    end: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> tuple[bytes, bytes]:
    """Wait until `process` has ended; returns what came through its pipes stdout and stderr.

    limit: bytes of both pipes together. files: what the process writes elsewhere, each with the bytes by which it may grow. look: called
    every 0.1 s. end: ends the process where it has to be stopped; by default it is killed, with its group if it leads one.
    Raises as `run` does; whatever ends the wait, the process is gone.
    """
    watched = [(file, _size(file), most) for file, most in (files or {}).items()]
    deadline = time.monotonic() + timeout_s
    kept: dict[int, bytearray] = {}

    def measure() -> None:
        if sum(map(len, kept.values())) > limit:
            raise TooMuchOutput(_told(process, limit))
        for file, before, most in watched:
            if _size(file) - before > most:
                raise TooMuchOutput(_told(process, most))

    def check() -> None:
        if look is not None:
            look()
        measure()
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(process.args, timeout_s)

    pipes = [None if pipe is None else pipe.fileno() for pipe in (process.stdout, process.stderr)]
    try:
        with selectors.DefaultSelector() as selector:
            for descriptor in pipes:
                if descriptor is not None:
                    kept[descriptor] = bytearray()
                    selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select(_LOOK_S):
                    part = os.read(key.fd, _CHUNK)
                    if not part:
                        selector.unregister(key.fd)
                    kept[key.fd] += part
                check()
        while True:
            try:
                process.wait(_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                check()
        # What it wrote before it ended.
        measure()
    except BaseException:
        (end or kill_group)(process)
        raise
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    out, err = (b"" if descriptor is None else bytes(kept[descriptor]) for descriptor in pipes)
    return out, err


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill `process` and what it started in its group."""
    # The group may outlive its leader, and hold its pipes.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def pieces(handle: IO[bytes], longest: int = _CHUNK) -> Iterator[bytes]:
    """The lines that a program prints to `handle`, as they come; one that is longer than `longest` bytes comes in parts."""
    return iter(lambda: handle.readline(longest), b"")


def tail(path: Path, most: int, start: int = 0) -> str:
    """The last `most` bytes of a file, of what is behind its byte `start`, as text."""
    with open(path, "rb") as handle:
        handle.seek(max(start, os.fstat(handle.fileno()).st_size - most))
        return handle.read(most).decode(errors="replace")


def _told(process: subprocess.Popen[bytes], most: int) -> str:
    name = process.args[0] if isinstance(process.args, (list, tuple)) else process.args
    return f"`{os.path.basename(str(name))}` was stopped, since it printed more than {_text(most)}"


def _text(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"


def _size(file: Growing) -> int:
    if isinstance(file, Path):
        try:
            return os.stat(file).st_size
        except OSError:
            # It has not been made yet.
            return 0
    return os.fstat(file.fileno()).st_size
