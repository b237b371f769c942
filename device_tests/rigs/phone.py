"""A phone: Android's real adbd behind the stock adb client, in namespaces of its own.

It runs this machine's processor and kernel, and says so: ro.kernel.qemu is 1.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from device_tests.rigs.adb_server import AdbServer
from device_tests.rigs.debian import RigUnavailable
from device_tests.rigs.link import Link
from device_tests.rigs.phone_root import phone_root
from device_tests.rigs.phone_state import PhoneState
from device_tests.rigs.processes import end, free_port, must_be_root, must_have, start

_FILES = Path(__file__).parent / "phone_files"
_NEW_NETWORK = 0x40000000


class Phone:
    """Runs from construction until `stop`. `state` changes what its sensors say, `link` is its cable."""

    def __init__(self, *, data_size: str = "700m") -> None:
        must_be_root()
        must_have(unshare="util-linux", nsenter="util-linux", setpriv="util-linux", dpkg_deb="dpkg", adb="adb")
        base = phone_root("amd64")
        self._folder = Path(tempfile.mkdtemp(prefix="rig-phone-"))
        self._holder: subprocess.Popen[str] | None = None
        self._phone: subprocess.Popen[str] | None = None
        self.server: AdbServer | None = None
        self.link: Link | None = None
        try:
            self.state = PhoneState(self._folder, "amd64")
            self._root = self._folder / "root"
            self._root.mkdir()
            self._hold(base, data_size)
            self._boot()
            self.link = Link(self._reach(), free_port())
            self.serial = f"127.0.0.1:{self.link.port}"
            self.server = AdbServer(self._folder)
            self.server.connect(self.serial)
        except BaseException:
            self.stop()
            raise

    @property
    def spec(self) -> str:
        """How edgedistill names it."""
        return f"adb:{self.serial}"

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with which adb, and so edgedistill, sees this phone and no other device."""
        return self.server.variables

    def adb(self, *words: object, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """One call of adb for this phone."""
        return self.server.adb("-s", self.serial, *words, timeout_s=timeout_s)

    def sh(self, script: str, *, timeout_s: float = 60) -> str:
        """Standard output of a script on the phone, as its shell user."""
        return self.adb("shell", script, timeout_s=timeout_s).stdout

    def path(self, on_the_phone: str) -> Path:
        """Where this machine sees a file of the phone, also while the phone is off or its link is cut."""
        return Path(f"/proc/{self._holder.pid}/root{self._root}") / on_the_phone.lstrip("/")

    def processes(self) -> list[tuple[int, str]]:
        """What runs in the phone, as (process id on this machine, command line), without its adbd and first process."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self._phone and os.readlink(process / "ns/pid") == self._namespace:
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    found.append((int(process.name), command))
            except OSError:
                continue
        return [one for one in sorted(found) if one[0] != self._first and one[1] and "adbd" not in one[1].split()[0]]

    def fill_disk(self, leave_bytes: int) -> None:
        """Take all of /data but so many bytes; -1 gives it back."""
        ballast = self.path("/data/ballast")
        ballast.unlink(missing_ok=True)
        if leave_bytes >= 0:
            with open(ballast, "wb") as file:
                size = 0
                # All but some MiB at once, then small steps: one that fails, since the phone wrote meanwhile, is given back whole.
                for step, spare in ((1 << 40, 4 << 20), (1 << 16, 0)):
                    while (room := self._free(ballast.parent) - leave_bytes - spare) > 0:
                        with contextlib.suppress(OSError):
                            os.posix_fallocate(file.fileno(), size, min(step, room))
                            size += min(step, room)

    def _free(self, folder: Path) -> int:
        room = os.statvfs(folder)
        return room.f_bavail * room.f_frsize

    def kill(self) -> None:
        """The phone dies: all its processes are gone at once."""
        end(self._phone)
        self._phone = None

    def restart(self) -> None:
        """Off and on again: its processes are gone, /data stays."""
        # Before it dies, else the adb server tries to have it back by itself while it is told to.
        self.server.adb("disconnect", self.serial)
        self.kill()
        self._boot()
        self.reconnect()

    def reconnect(self) -> None:
        """Plug the cable in and wait until adb has the phone again."""
        self.server.adb("disconnect", self.serial)
        self.link.cut()
        self.link.restore()
        self.server.connect(self.serial)

    def reset(self, *, kits: bool = True) -> None:
        """As new: cable in, sensors at rest, no process and no file of an earlier test.

        kits: whether those that are installed stay, which saves their time.
        """
        self.server.adb("disconnect", self.serial)
        self.kill()
        self.state.reset()
        self.fill_disk(-1)
        apps = ("/data/app", "/data/data", "/data/log", "/sdcard/Android/data")
        for folder in ("/data/settings", *apps, "/data/local/tmp/edgedistill", "/data/local/tmp"):
            for left in self.path(folder).glob("*"):
                if left.name not in (("edgedistill", "kits") if kits else ()):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.link.throttle(None)
        self.restart()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything that this rig started."""
        if self.server:
            self.server.stop()
        if self.link:
            self.link.close()
        self.kill()
        end(self._holder)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _hold(self, base: Path, size: str) -> None:
        words = [_FILES / "mounts", base, self._root, self._folder, size]
        self._holder = start("unshare", "--mount", "--net", "sh", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self._holder.stdout.readline().strip() != "ready":
            raise RigUnavailable(f"the phone's namespaces cannot be made here: {self._holder.stderr.read().strip()[-400:]}")

    def _boot(self) -> None:
        enter = ["nsenter", "--target", self._holder.pid, "--mount", "--net"]
        words = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "sh", _FILES / "pid1", self._root]
        with open(self._folder / "phone.log", "a") as log:
            self._phone = start(*enter, *words, stdout=log, stderr=log)
        children = Path(f"/proc/{self._phone.pid}/task/{self._phone.pid}/children")
        while not children.read_text().split():
            if self._phone.poll() is not None:
                raise RigUnavailable(f"the phone does not start: {(self._folder / 'phone.log').read_text()[-400:]}")
        self._first = int(children.read_text().split()[0])
        self._namespace = os.readlink(f"/proc/{self._first}/ns/pid")

    def _reach(self) -> Callable[[], socket.socket]:
        """What opens a connection to the phone's adbd: its socket is made in the phone's network, by a thread that has moved there."""
        network = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)

        def move() -> None:
            if ctypes.CDLL(None, use_errno=True).setns(network, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")

        moved = ThreadPoolExecutor(1, initializer=move)
        return lambda: moved.submit(socket.create_connection, ("127.0.0.1", 5555), 5).result()
