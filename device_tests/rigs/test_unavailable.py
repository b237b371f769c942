"""Where a rig can't be had the reason is told, and whatever becomes of the tests nothing of it goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_tests.rigs import debian
from device_tests.rigs.board import Board
from device_tests.rigs.debian import RigUnavailable
from device_tests.rigs.harness import ROOT
from device_tests.rigs.phone import Phone
from device_tests.rigs.plugin import phone_rig


@pytest.mark.parametrize("rig", [Phone, Board])
def test_a_user_who_is_not_root_is_reported(rig: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RigUnavailable, match="only root"):
        rig()


@pytest.mark.parametrize(("rig", "package"), [(Phone, "adb"), (Board, "qemu-system-arm")])
def test_missing_packages_are_named(rig: type, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RigUnavailable, match=f"packages are missing: .*{package}"):
        rig()


def test_a_mirror_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(debian.MIRROR, "http://127.0.0.1:9/debian")
    with pytest.raises(RigUnavailable, match=r"http://127\.0\.0\.1:9/debian"):
        debian.fetch(["mksh"], "arm64", tmp_path)


def test_tests_are_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(pytest.skip.Exception, match="no phone rig: only root"):
        next(phone_rig.__wrapped__())


def _processes(word: str) -> list[bytes]:
    """The command lines of processes that have `word` in theirs or in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = ((process / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        if word.encode() in command + environment:
            found.append(command)
    return found


@pytest.mark.parametrize("module", ["phone", "board"])
@pytest.mark.usefixtures("phone_rig")
def test_nothing_goes_on_when_the_tests_are_killed(module: str, tmp_path: Path) -> None:
    name = module.capitalize()
    script = f"""
import tempfile, time
tempfile.tempdir = {str(tmp_path)!r}
from device_tests.rigs.{module} import {name}
rig = {name}()
print("up", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout.readline() == "up\n"
        # Each process of a rig has the rig's folder in its command line, or as the home in its environment.
        assert _processes(f"{tmp_path}/rig-{module}")
        tests.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while left := _processes(f"{tmp_path}/rig-{module}"):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    mounted = Path("/proc/mounts").read_text()
    assert str(tmp_path) not in mounted
