"""Prints which runtimes this Python has: `python -m edgedistill.measure.runner.available '{MODULE: PACKAGE}'` prints JSON.

MODULE is an adapter, PACKAGE the distribution of its runtime.

It also runs on a Python that is too old for the rest of the runner, so that the host learns its version.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version

from edgedistill.measure.runner import bounded

OLDEST = (3, 10)
"""The oldest Python that the runner supports."""

_PREPARE = "import importlib, sys; importlib.import_module(sys.argv[1]).prepare(1)"
_TIMEOUT_S = 120


def look(packages: dict[str, str]) -> dict[str, object]:
    """{"python", "abi", "numpy", "adapters": {module: version}, "unusable": {module: why}} of the adapters in `packages`.

    A runtime counts only if a separate process can import and prepare it, since wheels for another processor crash on import.
    """
    adapters, unusable = {}, {}
    for name, package in packages.items():
        installed = _version(package)
        if installed is None:
            continue
        if (why := _failure(name)) is None:
            adapters[name] = installed
        else:
            unusable[name] = f"{package} {installed}: {why}"
    abi = sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag
    return {"python": platform.python_version(), "abi": abi, "numpy": _version("numpy"), "adapters": adapters, "unusable": unusable}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _failure(name: str) -> str | None:
    """Why the adapter `name` does not work here, or None."""
    if sys.version_info < OLDEST:
        return f"the runner takes Python {OLDEST[0]}.{OLDEST[1]} or newer, found {platform.python_version()}"
    command = [sys.executable, "-c", _PREPARE, name]
    try:
        process = bounded.run(command, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"its import had not finished after {_TIMEOUT_S} s"
    except bounded.TooMuchOutput as error:
        return str(error)
    if process.returncode == 0:
        return None
    if process.returncode < 0:
        return f"its import ended with signal {-process.returncode}"
    return (process.stderr.strip().splitlines() or [f"its import ended with exit status {process.returncode}"])[-1]


if __name__ == "__main__":
    print(json.dumps(look(json.loads(sys.argv[1]))))
