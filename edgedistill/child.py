"""Starts child processes that end with this one: when a command is interrupted, and also when it is killed.

Runtimes crash, and converters take seconds to import: each works in a process of its own, started as
`python -m edgedistill.child PARENT SIGNAL MODULE ARGUMENTS...`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from edgedistill import scratch
from edgedistill.errors import DeviceFailed
from edgedistill.measure.runner import bounded

_TIMEOUT_S = 300
_LOOK_EVERY_S = 0.5
_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""

_living: dict[subprocess.Popen[Any], float] = {}
"""The children, each with the seconds that it gets to undo what it changed."""
_lock = threading.RLock()
_ending = threading.Event()


def ask(module: str, *arguments: str, failed: str, timeout_s: float = _TIMEOUT_S) -> Any:
    """What `python -m module arguments` prints in its last line, read as JSON.

    Raises DeviceFailed, with `failed` before the reason, when the process fails or gives no answer within `timeout_s`.
    """
    try:
        process = run(command(module, *arguments), timeout_s=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise DeviceFailed(f"{failed}: no answer within {timeout_s:g} s") from error
    except bounded.TooMuchOutput as error:
        raise DeviceFailed(f"{failed}: {error}") from error
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines()
        raise DeviceFailed(f"{failed}: {lines[-1][:300] if lines else f'exit status {process.returncode}'}")
    try:
        return json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError, RecursionError) as error:
        raise DeviceFailed(f"{failed}: it gave no answer") from error


def command(module: str, *arguments: str, python: str | None = None, ends_by: signal.Signals = signal.SIGKILL) -> list[str]:
    """The command line that runs a module in a process that gets the signal `ends_by` when this one has ended.

    python: another interpreter than that of this process.
    """
    return [python or sys.executable, "-m", "edgedistill.child", str(os.getpid()), str(int(ends_by)), module, *arguments]


def run(
    line: list[str],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    files: Mapping[bounded.Growing, int] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run a command line and return its exit status and, unless `options` of Popen say where to, what it printed, as `bounded.run` does.

    environment: variables that it gets beside those of this process. files: what it writes, with its limits; see `bounded.follow`.
    Raises OSError when it does not start, subprocess.TimeoutExpired after `timeout_s`, and bounded.TooMuchOutput.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(line, environment=environment, **(pipes | options)) as process:
        out, err = _followed(process, timeout_s, files)
    return subprocess.CompletedProcess(line, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


@contextmanager
def started(
    line: list[str],
    *,
    grace_s: float = 0.0,
    environment: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    **options: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process for the block, in a session of its own; it and what it started have ended when the block ends.

    grace_s: how long it may take to undo what it changed, before it is killed. Raises KeyboardInterrupt where the command is interrupted.
    """
    with _lock:
        if _ending.is_set():
            raise KeyboardInterrupt
        everything = {**scratch.environment(), **(environment or {})}
        process = subprocess.Popen(line, stdin=stdin, start_new_session=True, env=everything, **options)
        _living[process] = grace_s
    try:
        yield process
    finally:
        end(process, grace_s)
        with _lock:
            _living.pop(process, None)
    if _ending.is_set():
        # It was ended by the interrupt, so that its exit status says nothing.
        raise KeyboardInterrupt


def wait(process: subprocess.Popen[bytes], timeout_s: float, files: Mapping[bounded.Growing, int], look: Callable[[], None]) -> int | None:
    """The exit status of a process that `started` gave, or None after `timeout_s`; `look` is called now and then.

    files: what it writes, with its limits. Raises bounded.TooMuchOutput.
    """
    try:
        _followed(process, timeout_s, files, look)
    except subprocess.TimeoutExpired:
        return None
    return process.returncode


def _followed(
    process: subprocess.Popen[bytes],
    timeout_s: float,
    files: Mapping[bounded.Growing, int] | None = None,
    look: Callable[[], None] | None = None,
) -> tuple[bytes, bytes]:
    def check() -> None:
        # A process that left the group may hold the pipes.
        if _ending.is_set():
            raise KeyboardInterrupt
        if look is not None:
            look()

    # The block of `started` ends it.
    return bounded.follow(process, timeout_s=timeout_s, files=files, look=check, end=lambda _: None)


def end(process: subprocess.Popen[Any], grace_s: float) -> None:
    """End a process with its group, which holds nothing that it did not start, since its session is its own."""
    if process.poll() is None and grace_s:
        # It is asked first, so that it restores what it changed.
        _signal_group(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    # What the process had started may outlive its end.
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def end_all() -> None:
    """End every child, since the command is interrupted; those that have something to undo are asked to. No other one starts."""
    with _lock:
        _ending.set()
        for process, grace_s in _living.items():
            _signal_group(process, signal.SIGTERM if grace_s else signal.SIGKILL)


def may_start() -> None:
    """Let children start again, after `end_all`."""
    _ending.clear()


def kill_all() -> None:
    """Kill every child, also those of multiprocessing."""
    with _lock:
        _ending.set()
        for process in _living:
            _signal_group(process, signal.SIGKILL)
    if multiprocessing := sys.modules.get("multiprocessing"):
        for worker in multiprocessing.active_children():
            worker.kill()


def follow(parent: int, number: int) -> None:
    """Let this process get the signal `number` when the process `parent`, which started it, has ended, however that ended."""
    ask = _asking()
    if ask is None or not ask(number):
        threading.Thread(target=_watch, args=(parent, number), daemon=True).start()
    elif os.getppid() != parent:
        os.kill(os.getpid(), number)


def killed_with_this() -> Callable[[], None] | None:
    """What a program that is not ours, such as ssh, runs as `preexec_fn` of Popen: it is killed when this process has ended.

    The kernel also kills it when the thread that started it has ended, so that thread must wait for it. What the program puts into the
    background, such as adb's server, lives on: a fork clears the signal. None where no kernel does that, which is everywhere but on Linux.
    """
    # Before the fork: what runs between fork and exec must not load anything.
    ask, parent = _asking(), os.getpid()
    if ask is None:
        return None

    def follow_parent() -> None:
        if ask(signal.SIGKILL) and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return follow_parent


def _asking() -> Callable[[int], bool] | None:
    """What asks the kernel to send a signal to the calling process when its parent has ended, and returns whether it will."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return lambda number: prctl(_SET_PARENT_DEATH_SIGNAL, number, 0, 0, 0) == 0


def _watch(parent: int, number: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os.kill(os.getpid(), number)


def main() -> None:
    """Follow the parent, and become the module of the command line."""
    import runpy

    parent, number, module = sys.argv[1:4]
    follow(int(parent), int(number))
    del sys.argv[1:4]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
