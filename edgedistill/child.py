"""Asks a module of `verify` in a process of its own, since runtimes crash and converters take seconds to import."""

import json
import subprocess
import sys
from typing import Any

from edgedistill.errors import DeviceFailed
from edgedistill.measure.runner import bounded

_TIMEOUT_S = 300


def ask(module: str, *arguments: str, failed: str) -> Any:
    """What `python -m module arguments` prints in its last line, read as JSON.

    Raises DeviceFailed, with `failed` before the reason, when the process fails or gives no answer within 300 s.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        process = bounded.run(command, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise DeviceFailed(f"{failed}: no answer within {_TIMEOUT_S} s") from error
    except bounded.TooMuchOutput as error:
        raise DeviceFailed(f"{failed}: {error}") from error
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines()
        raise DeviceFailed(f"{failed}: {lines[-1][:300] if lines else f'exit status {process.returncode}'}")
    try:
        return json.loads(process.stdout.splitlines()[-1])
    except (IndexError, ValueError, RecursionError) as error:
        raise DeviceFailed(f"{failed}: it gave no answer") from error
