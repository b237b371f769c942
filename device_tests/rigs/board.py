"""A single-board computer: a real 64-bit ARM Linux in an emulator, with ssh, and with a battery and a thermal zone that tests set."""

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from device_tests.rigs.adb_server import AdbServer
from device_tests.rigs.board_image import USER, board_image
from device_tests.rigs.debian import RigUnavailable
from device_tests.rigs.link import Link
from device_tests.rigs.processes import end, free_port, must_be_root, must_have, start

_FIRMWARE = Path("/usr/share/qemu-efi-aarch64/QEMU_EFI.fd")
_BOOT_LIMIT_S = 120
_FLAGS = {True: 2, False: 1}


class Board:
    """Runs from construction until `stop`. `link` is the cable that ssh goes through; the rig itself has another way in, see `control`."""

    def __init__(self) -> None:
        must_be_root()
        must_have(
            qemu_system_aarch64="qemu-system-arm", iasl="acpica-tools", depmod="kmod", cpio="cpio", mke2fs="e2fsprogs",
            dpkg_deb="dpkg", setpriv="util-linux", ssh="openssh-client", adb="adb",
        )  # fmt: skip
        if not _FIRMWARE.exists():
            raise RigUnavailable("Debian packages are missing: qemu-efi-aarch64")
        self._image = board_image()
        self._folder = Path(tempfile.mkdtemp(prefix="rig-board-"))
        self._qemu: subprocess.Popen[str] | None = None
        self._ports = {name: free_port() for name in ("jobs", "control", "adb")}
        self.link: Link | None = None
        self._adb: AdbServer | None = None
        try:
            # A copy with holes: what tests write stays over a restart and goes with the rig.
            subprocess.run(["cp", "--sparse=always", self._image / "root.ext4", self._folder / "disk"], check=True)
            (self._folder / "sensors").write_bytes(bytes(1 << 20))
            self.sensors()
            self.link = Link(lambda: socket.create_connection(("127.0.0.1", self._ports["jobs"]), 5), free_port())
            self._configure_ssh()
            self.boot()
        except BaseException:
            self.stop()
            raise

    @property
    def port(self) -> int:
        """The loopback port of the board's ssh."""
        return self.link.port

    @property
    def spec(self) -> str:
        """How edgedistill names it, as root."""
        return f"ssh:root@127.0.0.1:{self.port}"

    @property
    def user_spec(self) -> str:
        """How edgedistill names it, as a user who is not root."""
        return f"ssh:{USER}@127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with which edgedistill's ssh knows the board's key and has one of its own."""
        return {"EDGEDISTILL_SSH_CONFIG": str(self.ssh_config)}

    @property
    def ssh_config(self) -> Path:
        """The client's configuration (ssh -F) for the board at 127.0.0.1."""
        return self._folder / "ssh_config"

    def ssh(self, script: str, *, user: str = "root", timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run a script through the link, as the harness does."""
        command = ["ssh", "-F", str(self.ssh_config), "-p", str(self.port), f"{user}@127.0.0.1", script]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)

    def control(self, script: str, *, timeout_s: float = 60) -> str:
        """Standard output of a script that the rig runs as root, whatever became of the link and of the processor's share."""
        command = ["ssh", "-F", str(self._folder / "control_config"), "control", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode:
            raise RigUnavailable(f"on the board: {done.stderr.strip()[-400:]}")
        return done.stdout

    def sensors(
        self,
        temp_c: float = 38.0,
        *,
        charging: bool = False,
        milliamps: int = 1250,
        milliamp_hours: int = 3900,
        millivolts: int = 3838,
    ) -> None:
        """What the board's thermal zone and battery tell from now on. At 120 °C Linux powers it off."""
        words = struct.pack("<iIIII", round(temp_c * 10), _FLAGS[charging], milliamps, milliamp_hours, millivolts)
        descriptor = os.open(self._folder / "sensors", os.O_WRONLY)
        os.pwrite(descriptor, words, 0)
        os.close(descriptor)

    def cpu_quota(self, percent: int | None) -> None:
        """Give all that ssh started, and starts, so much of one core; None: all of all cores."""
        self.control(f"echo {'max' if percent is None else percent * 1000} 100000 > /sys/fs/cgroup/jobs/cpu.max")

    def mode(self, path: str, mode: int) -> None:
        """Set who may read or write a file of the board, one of /sys included, until it restarts."""
        self.control(f"chmod {mode:o} {path}")

    def processes(self) -> list[str]:
        """The command lines of what ssh started and still runs, the ssh server and its sessions not counted."""
        script = "for p in $(cat /sys/fs/cgroup/jobs/cgroup.procs); do tr '\\0' ' ' < /proc/$p/cmdline 2>/dev/null && echo; done"
        return [line.strip() for line in self.control(script).splitlines() if line.strip() and not line.startswith("dropbear")]

    def clock_jump(self, seconds: int) -> None:
        """Set the board's wall clock ahead or, below 0, back."""
        self.control(f"date -s @$(($(date +%s) + {seconds})) >/dev/null")

    def fill_disk(self, leave_bytes: int) -> None:
        """Take all of the disk but about so many bytes; -1 gives it back."""
        self.control("rm -f /ballast")
        if leave_bytes >= 0:
            self.control(f"fallocate -l $(($(df -B1 --output=avail / | tail -n1) - {leave_bytes})) /ballast")

    def kill(self) -> None:
        """Pull the power."""
        if self._adb:
            self._adb.stop()
            self._adb = None
        end(self._qemu)
        self._qemu = None

    def boot(self) -> None:
        """Switch the power on and wait for ssh. The disk is as it was left."""
        (self._folder / "serial").write_text("")
        began = time.monotonic()
        with open(self._folder / "qemu.log", "a") as log:
            self._qemu = start("qemu-system-aarch64", *self._machine(), stdout=log, stderr=log)
        while "RIG: up" not in (serial := (self._folder / "serial").read_text(errors="replace")):
            self._check_boot(began, serial)
            time.sleep(0.05)
        while True:
            try:
                self.control("true", timeout_s=10)
                break
            except (RigUnavailable, subprocess.TimeoutExpired):
                self._check_boot(began, "no ssh")
        self.boot_s = time.monotonic() - began

    def restart(self) -> None:
        """Off and on again: its processes are gone, what was written to its disk stays."""
        self.control("sync")
        self.kill()
        self.boot()

    def reset(self) -> None:
        """As new: cable in, sensors at rest, no process and no file of an earlier test in home or temporary folders. Kits stay."""
        if self._qemu is None or self._qemu.poll() is not None:
            self.boot()
        self.link.cut()
        self.link.restore()
        self.link.throttle(None)
        self.sensors()
        self.cpu_quota(None)
        # Sessions and jobs of an earlier test, but not the server that listens.
        self.control(
            "for p in $(cat /sys/fs/cgroup/jobs/cgroup.procs); do "
            'read -r _ name _ parent _ < /proc/$p/stat && [ "$name $parent" = "(dropbear) 1" ] || kill -9 $p; done 2>/dev/null; true'
        )
        self.control(
            rf"find /ballast /root /home /var/tmp /tmp \( -name .ssh -o -name kits \) -prune -o ! -type d -exec rm -f {{}} + 2>/dev/null; "
            f"date -s @{time.time():.0f} >/dev/null"
        )

    def start_phone(self) -> tuple[AdbServer, str]:
        """Start a 64-bit ARM phone on the board; returns the adb server that has it, and its serial."""
        if self._adb is None:
            self.control("rig-phone")
            self._adb = AdbServer(self._folder)
            self._adb.connect(f"127.0.0.1:{self._ports['adb']}")
        return self._adb, f"127.0.0.1:{self._ports['adb']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything that this rig started."""
        if self.link:
            self.link.close()
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _check_boot(self, began: float, said: str) -> None:
        if self._qemu.poll() is not None:
            raise RigUnavailable(f"the board's emulator ended: {(self._folder / 'qemu.log').read_text()[-400:]}")
        if time.monotonic() - began > _BOOT_LIMIT_S:
            raise RigUnavailable(f"the board is not up after {_BOOT_LIMIT_S} s: {said[-400:]}")

    def _machine(self) -> list[object]:
        forward = ",".join(
            f"hostfwd=tcp:127.0.0.1:{self._ports[name]}-:{port}" for name, port in (("jobs", 22), ("control", 2222), ("adb", 5555))
        )
        return [
            "-M", "virt,gic-version=3", "-cpu", "cortex-a76", "-smp", 2, "-m", 1536, "-accel", "tcg,thread=multi", "-display", "none",
            "-monitor", "none", "-no-reboot", "-bios", _FIRMWARE, "-kernel", self._image / "vmlinuz", "-initrd", self._image / "initrd.img",
            "-append", "console=ttyAMA0 acpi=force quiet", "-smbios", "type=1,manufacturer=EdgeRig,product=Virtual A76 board",
            "-drive", f"file={self._folder / 'disk'},if=none,id=d,format=raw,cache=unsafe",
            "-device", "virtio-blk-pci,drive=d,romfile=", "-netdev", f"user,id=n,restrict=on,{forward}",
            "-device", "virtio-net-pci,netdev=n,romfile=", "-device", "virtio-rng-pci",
            "-object", f"memory-backend-file,id=s,size=1M,mem-path={self._folder / 'sensors'},share=on",
            "-device", "ivshmem-plain,memdev=s,addr=0x1e", "-serial", f"file:{self._folder / 'serial'}",
        ]  # fmt: skip

    def _configure_ssh(self) -> None:
        key = " ".join((self._image / "host_key.pub").read_text().split()[:2])
        for name, port in (("jobs", self.link.port), ("control", self._ports["control"])):
            (self._folder / f"{name}_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")
        common = (
            f"  IdentityFile {self._image / 'id'}\n  IdentitiesOnly yes\n  BatchMode yes\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n"
        )
        self.ssh_config.write_text(f"Host 127.0.0.1\n{common}  UserKnownHostsFile {self._folder / 'jobs_hosts'}\n")
        # One connection for all that the rig does: each new one costs the emulated board a good part of a second.
        (self._folder / "control_config").write_text(
            f"Host control\n  HostName 127.0.0.1\n  Port {self._ports['control']}\n  User root\n  ConnectTimeout 5\n{common}"
            f"  UserKnownHostsFile {self._folder / 'control_hosts'}\n  ControlMaster auto\n  ControlPersist yes\n"
            f"  ControlPath {self._folder / 'master'}\n"
        )
