"""Processes that end with the one that started them, also when that one is killed."""

import os
import socket
import subprocess
from pathlib import Path

from device_tests.rigs.debian import RigUnavailable


def start(*command: object, **options: object) -> "subprocess.Popen[str]":
    """The started process; the kernel kills it when this process ends."""
    words = ["setpriv", "--pdeathsig", "KILL", *map(str, command)]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, text=True, **options)  # type: ignore[call-overload, no-any-return]


def end(process: "subprocess.Popen[str] | None") -> None:
    """Kill a process that `start` gave, and wait for it."""
    if process is not None:
        process.kill()
        process.wait()


def free_port() -> int:
    """A loopback port that is free now, outside of 5555 to 5585, where every adb server looks for emulators by itself."""
    while True:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = int(found.getsockname()[1])
        if not 5554 <= port <= 5585:
            return port


def must_be_root() -> None:
    """Raise RigUnavailable unless this process may make namespaces and mounts."""
    if os.geteuid():
        raise RigUnavailable("only root can build this rig: its files belong to root, and it makes namespaces and mounts")


def must_have(**packages: str) -> None:
    """Raise RigUnavailable unless each program (an argument's name, _ for -) is installed; the value is its Debian package."""
    folders = [Path(folder) for folder in [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"] if folder]
    missing = {package for name, package in packages.items() if not any((folder / name.replace("_", "-")).exists() for folder in folders)}
    if missing:
        raise RigUnavailable(f"Debian packages are missing: {' '.join(sorted(missing))}")
