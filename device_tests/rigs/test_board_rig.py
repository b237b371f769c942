"""The board does what tests of the harness take for granted."""

import os
import subprocess
import time
from pathlib import Path

from device_tests.rigs.board import Board

_BUSY = "i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done"


def test_a_command_ends_with_its_own_exit_code(board: Board) -> None:
    done = board.ssh("id -u; uname -m; echo problem >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "0\naarch64\n", "problem\n")
    assert board.ssh("id -u; pwd", user="edge").stdout == "1000\n/home/edge\n"


def test_a_host_key_that_changed_is_refused(board: Board, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    (tmp_path / "hosts").write_text(f"[127.0.0.1]:{board.port} {(tmp_path / 'other.pub').read_text()}")
    command = [
        "ssh",
        "-F",
        str(board.ssh_config),
        "-o",
        f"UserKnownHostsFile={tmp_path / 'hosts'}",
        "-p",
        str(board.port),
        "root@127.0.0.1",
        "true",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr


def test_files_go_there_and_back(board: Board, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(1_000_000))
    address = f"edge@127.0.0.1:{tmp_path.name}"
    for words in ([sent, address], [address, tmp_path / "back"]):
        subprocess.run(["scp", "-q", "-F", str(board.ssh_config), "-P", str(board.port), *map(str, words)], check=True)
    assert (tmp_path / "back").read_bytes() == sent.read_bytes()


def test_sensors_change_while_it_runs_and_one_can_be_denied(board: Board) -> None:
    read = "cat /sys/class/thermal/thermal_zone0/temp /sys/class/power_supply/BAT0/{status,current_now,charge_now,voltage_now}"
    assert board.ssh(read, user="edge").stdout.split() == ["38000", "Discharging", "1250000", "3900000", "3838000"]
    board.sensors(71.5, charging=True, milliamps=900, milliamp_hours=2000, millivolts=4000)
    assert board.ssh(read, user="edge").stdout.split() == ["71500", "Charging", "900000", "2000000", "4000000"]
    board.mode("/sys/class/thermal/thermal_zone0/temp", 0o400)
    denied = board.ssh("cat /sys/class/thermal/thermal_zone0/temp", user="edge")
    board.mode("/sys/class/thermal/thermal_zone0/temp", 0o444)
    assert "Permission denied" in denied.stderr


def test_a_quota_slows_what_ssh_started(board: Board) -> None:
    def seconds() -> float:
        return float(board.ssh(f"time -p ({_BUSY})").stderr.split()[1])

    full = seconds()
    board.cpu_quota(25)
    assert seconds() > 2.5 * full


def test_a_job_outlives_a_cut_link_but_not_a_restart(board: Board) -> None:
    board.ssh("setsid nohup sleep 300 >/dev/null 2>&1 < /dev/null & echo kept > kept")
    board.link.cut()
    assert board.ssh("true").returncode == 255
    assert board.processes() == ["sleep 300"]
    board.link.restore()
    assert board.ssh("pgrep -x sleep").returncode == 0
    board.restart()
    assert board.processes() == []
    assert board.ssh("cat kept").stdout == "kept\n"


def test_the_disk_can_be_full_and_the_clock_can_jump(board: Board) -> None:
    board.fill_disk(1_000_000)
    done = board.ssh("head -c 3000000 /dev/zero > f; rm f")
    assert "No space left on device" in done.stderr
    board.clock_jump(-3600)
    assert -3700 < int(board.ssh("date +%s").stdout) - time.time() < -3500


def test_a_phone_runs_on_it(board: Board) -> None:
    server, serial = board.start_phone()
    told = server.adb("-s", serial, "shell", "id -u; uname -m; getprop ro.product.cpu.abi; cat /sys/class/thermal/thermal_zone0/temp")
    assert told.stdout.split() == ["2000", "aarch64", "arm64-v8a", "38000"]


def test_a_reset_leaves_only_kits(board: Board) -> None:
    board.ssh(
        "mkdir -p .cache/edgedistill/kits; touch .cache/edgedistill/kits/kept lost; setsid nohup sleep 300 >/dev/null 2>&1 < /dev/null &"
    )
    board.clock_jump(500)
    board.reset()
    assert board.processes() == []
    assert board.ssh("ls . .cache/edgedistill/kits").stdout.split() == [".:", ".cache/edgedistill/kits:", "kept"]
    assert abs(int(board.ssh("date +%s").stdout) - time.time()) < 30
