"""Runs commands on the host that reach a device, and makes scripts report their own exit code."""

import os
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from edgedistill import child
from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices.base import LinkLost, NoAnswer, Reply
from edgedistill.measure.runner.bounded import LIMIT, TooMuchOutput, follow


def call(
    command: Sequence[str], *, timeout_s: float, stdin: bytes | IO[bytes] | None = None, stdout: IO[bytes] | None = None,
    files: Mapping[Path | IO[bytes], int] | None = None,
) -> Reply:  # fmt: skip
    """Run `command` on the host. Its process group has ended when this returns or raises.

    It is killed if this process is. files: what the command writes besides, with the bytes that it may write; see `bounded.follow`.
    Raises NoAnswer if `timeout_s` passed, DeviceFailed if the program is missing, or the command or the device printed more than
    `bounded.LIMIT`.
    """
    # A file instead of a pipe, since ssh's background connection and adb's server keep stderr open for a long time.
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as script:
        if isinstance(stdin, bytes):
            script.write(stdin)
            script.seek(0)
        try:
            # Its own session, so that Ctrl-C does not end the link: edgedistill still needs it to clean up. What runs after the fork takes
            # no lock that another thread could hold.
            process = subprocess.Popen(
                command, stdin=script if isinstance(stdin, bytes) else stdin or subprocess.DEVNULL,
                stdout=stdout or subprocess.PIPE, stderr=errors, start_new_session=True,
                preexec_fn=child.killed_with_this(),  # noqa: PLW1509
            )  # fmt: skip
        except FileNotFoundError as error:
            raise DeviceFailed(f"{command[0]} is not installed on this machine; install it and try again") from error
        try:
            out, _ = follow(process, timeout_s=timeout_s, files={errors: LIMIT, **(files or {})})
        except subprocess.TimeoutExpired as error:
            raise NoAnswer(f"`{command[0]}` had not answered after {timeout_s:g} s") from error
        except TooMuchOutput as error:
            raise DeviceFailed(f"{error}; the device or its client is not what it seems: look at it with `{command[0]}` itself") from error
        errors.seek(0)
        return Reply(process.returncode, out.decode(errors="replace"), errors.read().decode(errors="replace"))


def with_exit_code(script: str) -> tuple[str, str]:
    """`script` extended so that its last line of output has its exit code, and the word that this line begins with.

    The exit codes of the clients are not reliable: `adb shell` returns 0 if the phone dies, and ssh returns 255 both for a lost link and
    for a script that ended with 255.
    """
    word = f"edgedistill-{secrets.token_hex(8)}"
    return f"(\n{script}\n) </dev/null\nprintf '\\n%s:%d\\n' {word} $?\n", word


def unwrap(reply: Reply, word: str, why: str) -> Reply:
    """The reply of a script from `with_exit_code`. Raises LinkLost with `why` if the last line did not arrive."""
    ending = re.search(rf"\n{word}:(\d+)\r?\n$", reply.out)
    if ending is None:
        lines = reply.err.strip().splitlines()
        raise LinkLost(f"{why}{': ' + lines[-1] if lines else ''}")
    return Reply(int(ending[1]), reply.out[: ending.start()], reply.err)


@contextmanager
def without_interrupts() -> Any:
    """Delay SIGINT and SIGTERM until the block has ended, then raise KeyboardInterrupt. It has an effect in the main thread only."""
    received_signals: list[int] = []
    kept = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            kept[number] = signal.signal(number, lambda received, _: received_signals.append(received))
    except ValueError:
        # Only the main thread gets signals.
        pass
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if received_signals:
        raise KeyboardInterrupt


def complete(path: Path) -> Path:
    """The temporary path to write to before renaming it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")
