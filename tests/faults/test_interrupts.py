"""SIGINT, SIGTERM, a closed terminal and a killed parent end a command with all its children, and nothing temporary stays."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TINY, edgedistill
from made_disks import left_behind

from edgedistill import child, scratch
from edgedistill.run import Run
from edgedistill.runs import open_run

SLEEPER = """
import os, subprocess, sys, time
sys.dont_write_bytecode = True
own = subprocess.Popen(["sleep", "600"])
name = f"{os.getpid()}.pids"
with open(name + ".part", "w") as file:
    file.write(f"{os.getpid()} {own.pid}")
os.replace(name + ".part", name)
time.sleep(600)
"""
COMMAND = """
import sys
from edgedistill import child, interrupts
from edgedistill.cli.output import finish
from edgedistill.steps.parallel import parallel

def sleep(name):
    return child.run(child.command("sleeper"), timeout_s=600).returncode

finish(True, lambda: {"codes": parallel("work", ["a", "b", "c"], sleep)}, print)
"""
LIMIT_S = 3.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    yield tmp_path
    for pid in pids(tmp_path):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def pids(place: Path) -> list[int]:
    """The processes that sleepers noted."""
    return [int(pid) for path in place.glob("*.pids") for pid in path.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def start(code: str, place: Path, sleepers: int) -> subprocess.Popen[str]:
    """Python with `code`, which has started so many sleepers."""
    # Tests that run in the background inherit signals that are ignored.
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": place, "preexec_fn": _default_signals}
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], **options)
    wait_until(lambda: len(list(place.glob("*.pids"))) == sleepers or process.poll() is not None, 60)
    assert process.poll() is None, process.communicate()
    return process


def limit_s() -> float:
    """How long an end may take: 3 s where the processors are free, and longer by as much as other work asks more of them than there is."""
    return LIMIT_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_until(true, seconds: float) -> float:
    """How long it took until `true`, at most `seconds`."""
    begun = time.monotonic()
    while not true() and time.monotonic() - begun < seconds:
        time.sleep(0.02)
    return time.monotonic() - begun


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_all_its_children(place: Path, number: signal.Signals) -> None:
    process = start(COMMAND, place, 2)
    process.send_signal(number)
    assert wait_until(lambda: process.poll() is not None and not any(map(alive, pids(place))), 10) < limit_s()
    out, errors = process.communicate()
    assert (process.returncode, json.loads(out)["error"]["exit_code"]) == (130, 130)
    assert errors == "error: interrupted; the same command continues from here\n"
    assert len(list(place.glob("*.pids"))) == 2, "nothing is started after it"


def test_a_command_that_computes_in_a_library_ends_too(place: Path) -> None:
    code = COMMAND + "\n"
    code = code.replace('parallel("work", ["a", "b", "c"], sleep)', "work()").replace(
        "finish(",
        """
def work():
    import hashlib, threading
    threading.Thread(target=sleep, args=("a",)).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

finish(""",
        1,
    )
    process = start(code, place, 1)
    process.send_signal(signal.SIGTERM)
    assert wait_until(lambda: process.poll() is not None and not any(map(alive, pids(place))), 10) < limit_s()
    out, errors = process.communicate()
    assert (process.returncode, json.loads(out)["error"]["exit_code"]) == (130, 130)
    assert "interrupted; the same command continues" in errors


@pytest.mark.parametrize("where", ["before", "after_in_parent"])
def test_a_signal_within_a_fork_counts_too(place: Path, where: str) -> None:
    # As of logging, which keeps its lock around a fork: Python drops what is raised there.
    work = f"""
        def work():
            import os, signal, subprocess, time
            os.register_at_fork({where}=lambda: os.kill(os.getpid(), signal.SIGTERM))
            subprocess.run(["true"], preexec_fn=int)
            time.sleep(20)
    """
    code = COMMAND[: COMMAND.index("finish(")] + textwrap.dedent(work) + "finish(True, work, print, restores=True)"
    process = start(code, place, 0)
    assert wait_until(lambda: process.poll() is not None, 10) < limit_s()
    _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "error: interrupted; the same command continues from here\n")


def test_a_measurement_may_restore_settings_before_it_ends(place: Path) -> None:
    slow = "finish(True, lambda: {}, print, restores=True)"
    work = """
        def work():
            import time
            try:
                sleep("a")
            finally:
                time.sleep(2.5)
                open("restored", "w").close()
    """
    code = COMMAND[: COMMAND.index("finish(")] + textwrap.dedent(work) + slow.replace("lambda: {}", "work")
    process = start(code, place, 1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 130
    assert (place / "restored").exists()


@pytest.mark.parametrize("kernel", [True, False])
def test_children_end_when_their_parent_is_killed(place: Path, kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernel:
        # As where the kernel does not tell of it: then a thread looks.
        (place / "sitecustomize.py").write_text("import sys\nif 'edgedistill.child' in sys.orig_argv:\n    sys.platform = 'other'\n")
        monkeypatch.setenv("PYTHONPATH", f"{place}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    process = start(COMMAND, place, 2)
    children = [int(path.name.removesuffix(".pids")) for path in place.glob("*.pids")]
    process.kill()
    process.wait()
    assert wait_until(lambda: not any(map(alive, children)), 10) < limit_s()


CLIENT = """#!/bin/sh
case "$*" in *"-O exit"*) touch closed; exit ;; esac
echo $$ > $$.part && mv $$.part $$.pids
exec sleep 600
"""
REACHES = """
import threading, time
from edgedistill.measure.devices import open_device

def reach():
    open_device("DEVICE").sh("true", timeout_s=600)

threading.Thread(target=lambda: threading.Thread(target=reach).start()).start()
time.sleep(600)
"""
"""Reaches a device from a thread whose own parent thread has ended."""


@pytest.fixture
def clients(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clients of devices that never answer come first on the path."""
    for name in ("ssh", "adb"):
        (place / name).write_text(CLIENT)
        (place / name).chmod(0o755)
    (place / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(place / "tmp"))
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    return place


@pytest.mark.parametrize("device", ["ssh:board", "adb:phone"])
def test_a_client_of_a_device_ends_when_edgedistill_is_killed(clients: Path, device: str) -> None:
    process = start(REACHES.replace("DEVICE", device), clients, 1)
    time.sleep(0.5)
    (client,) = pids(clients)
    assert alive(client), "it does not end with the thread that started its thread"
    process.kill()
    process.wait()
    assert wait_until(lambda: not alive(client), 10) < limit_s()
    if device == "ssh:board":
        # The connection that commands share is in the background, where the kernel does not end it.
        assert wait_until(lambda: not list((clients / "tmp").iterdir()), 10) < limit_s()
        assert (clients / "closed").exists()


def test_the_shared_connection_ends_with_edgedistill(clients: Path) -> None:
    code = "from edgedistill.measure.devices import open_device\nopen_device('ssh:board')._socket"
    subprocess.run([sys.executable, "-c", code], cwd=clients, check=True, timeout=60)
    assert (clients / "closed").exists()
    assert list((clients / "tmp").iterdir()) == []


@pytest.mark.skipif(not shutil.which("adb"), reason="adb is not installed")
def test_the_server_of_adb_outlives_edgedistill(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    code = """
        import os
        from edgedistill.measure.devices.commands import call
        print(call(["adb", "start-server"], timeout_s=60).err)
        open(f"{os.getpid()}.pids", "w").close()
        call(["adb", "wait-for-device"], timeout_s=600)
    """
    process = start(code, place, 1)
    found = f"ANDROID_ADB_SERVER_PORT={port}"
    try:
        wait_until(lambda: len(processes_with(found)) == 3, 10)
        process.kill()
        process.wait()
        wait_until(lambda: len(processes_with(found)) == 1, 10)
        time.sleep(1)
        (server,) = processes_with(found)
        assert b"fork-server" in Path(f"/proc/{server}/cmdline").read_bytes()
    finally:
        subprocess.run(["adb", "kill-server"], check=True, timeout=60)


def test_a_signal_that_is_ignored_stays_so(place: Path) -> None:
    process = start("import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + COMMAND, place, 2)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 130


@pytest.mark.slow
def test_the_process_of_a_model_file_that_teaches_ends_with_its_parent(place: Path) -> None:
    code = """
        import os, time
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        from edgedistill.tasks.image_classification.teachers import _open_file

        if __name__ == "__main__":
            pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_open_file, initargs=(os.getpid(), "missing.onnx"))
            pid = pool.submit(os.getpid).result()
            open("made", "w").write(str(pid))
            os.replace("made", f"{pid}.pids")
            time.sleep(600)
    """
    (place / "teaches.py").write_text(textwrap.dedent(code))
    process = start("import runpy; runpy.run_path('teaches.py', run_name='__main__')", place, 1)
    process.kill()
    process.wait()
    assert wait_until(lambda: not any(map(alive, pids(place))), 10) < limit_s()


def test_temporary_files_are_in_the_run_and_go_with_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "system"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "system" / f"edgedistill-{dead.pid}-x" / "big").mkdir(parents=True)
    (tmp_path / "system" / f"edgedistill-{os.getpid()}-y").mkdir()
    with open_run(tmp_path / "run") as run, scratch.temporary() as folder:
        assert folder.is_relative_to(run.work("tmp").resolve())
        answer = child.run([sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"], timeout_s=60)
        assert Path(answer.stdout.strip()) == run.work("tmp").resolve()
    of_killed, of_living = f"work/records/.a.{dead.pid}.tmp.json", f"work/records/.b.{os.getpid()}.tmp.json"
    for name in ("work/tmp/edgedistill-1-x/a", of_killed, of_living, ".c.1.tmp"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("left")
    with open_run(tmp_path / "run"):
        pass
    left = sorted(path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert left == [".c.1.tmp", of_living, "work/run.json"], "what may be the user's, or is in use, stays"
    with scratch.temporary() as folder:
        assert folder.parent == tmp_path / "system"
    assert [path.name for path in (tmp_path / "system").iterdir()] == [f"edgedistill-{os.getpid()}-y"]


def processes_with(token: str) -> list[int]:
    """The processes whose environment has `token`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (path / "environ").read_bytes() and alive(int(path.name)):
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_converters_end_with_an_export(tiny: Path, tmp_path: Path, number: signal.Signals) -> None:
    copy, token = shutil.copytree(tiny, tmp_path / "copy", symlinks=True), f"EDGEDISTILL_TEST={os.getpid()}-{number}"
    (tmp_path / "tmp").mkdir()
    name, _, value = token.partition("=")
    environment = {**os.environ, name: value, "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-m", "edgedistill", "export", "--fresh", "--json"]
    process = subprocess.Popen(command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(processes_with(token)) == 3, 120)
    time.sleep(2)
    process.send_signal(number)
    assert wait_until(lambda: process.poll() is not None and not processes_with(token), 20) < limit_s()
    assert list((tmp_path / "tmp").iterdir()) == []
    if number != signal.SIGKILL:
        assert left_behind(copy / "runs/tiny") == []
    done = edgedistill("export", "--json", cwd=copy, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert left_behind(copy / "runs/tiny") == []
    first = {artifact["name"]: artifact["sha256"] for artifact in json.loads((tiny / "result.json").read_text())["artifacts"]}
    assert {artifact.name: artifact.sha256 for artifact in Run(copy / "runs/tiny").artifacts()} == first


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_training_ends_and_goes_on(tiny: Path, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-m", "edgedistill", "distill", "tiny.yaml", "--json"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "runs/tiny/work/teacher/checkpoint.safetensors").exists, 120)
    process.send_signal(number)
    assert wait_until(lambda: process.poll() is not None, 20) < limit_s()
    assert process.returncode == 130
    done = edgedistill("distill", "tiny.yaml", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["state"] == json.loads((tiny / "result.json").read_text())["state"]
    assert left_behind(tmp_path / "runs/tiny") == []
