"""Commands on the host that reach a device, and scripts whose end is proven."""

import os
import re
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices.base import LinkLost, Reply


def call(command: Sequence[str], *, timeout_s: float, stdin: bytes | IO[bytes] | None = None, stdout: IO[bytes] | None = None) -> Reply:
    """Run `command` on the host; its process group is gone when this returns, however it returns.

    Raises DeviceFailed when the program is missing or `timeout_s` passed.
    """
    # A file and not a pipe: the connection that ssh keeps in the background, or adb's server, holds stderr open for long.
    with tempfile.TemporaryFile() as errors:
        try:
            # Its own session: Ctrl-C at a terminal stops edgedistill, which then still needs its links to clean up.
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE if isinstance(stdin, bytes) else stdin or subprocess.DEVNULL,
                stdout=stdout or subprocess.PIPE, stderr=errors, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise DeviceFailed(f"{command[0]} is not installed on this machine; install it and try again") from error
        try:
            out, _ = child.communicate(stdin if isinstance(stdin, bytes) else None, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise DeviceFailed(f"`{command[0]}` had not answered after {timeout_s:g} s") from error
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        errors.seek(0)
        return Reply(child.returncode, (out or b"").decode(errors="replace"), errors.read().decode(errors="replace"))


def proven(script: str) -> tuple[str, str]:
    """`script` so that its last line of output proves that it ended and how, and the word that the line begins with.

    The clients' own exit codes do not: `adb shell` returns 0 when the phone dies, ssh returns 255 for a lost link and for a script's 255.
    """
    word = f"edgedistill-{secrets.token_hex(8)}"
    return f"(\n{script}\n) </dev/null\nprintf '\\n%s:%d\\n' {word} $?\n", word


def unwrap(reply: Reply, word: str, why: str) -> Reply:
    """The script's own reply, from what `proven` made of it. Raises LinkLost with `why` when the last line did not arrive."""
    found = re.search(rf"\n{word}:(\d+)\r?\n$", reply.out)
    if found is None:
        said = reply.err.strip().splitlines()
        raise LinkLost(f"{why}{': ' + said[-1] if said else ''}")
    return Reply(int(found[1]), reply.out[: found.start()], reply.err)


@contextmanager
def without_interrupts() -> Any:
    """Hold SIGINT and SIGTERM back while the block runs, as far as this is the main thread; one that came is raised at the end."""
    came: list[int] = []
    kept = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            kept[number] = signal.signal(number, lambda received, _: came.append(received))
    except ValueError:
        # Another thread than the main one gets no signals.
        pass
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def complete(path: Path) -> Path:
    """Where to write what will become `path` when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")
