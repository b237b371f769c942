"""An adb server of the tests' own, so that the user's server and devices are left alone."""

import os
import subprocess
import time
from pathlib import Path

from device_tests.rigs.debian import RigUnavailable
from device_tests.rigs.processes import end, free_port, must_have, start


class AdbServer:
    """Runs until `stop`; with `variables` in its environment the stock adb client talks to it."""

    def __init__(self, home: Path) -> None:
        must_have(adb="adb", setpriv="util-linux")
        self.port = free_port()
        # A server looks for emulators on ports 5555 and up: this one finds none. Its key is in `home`, not in the user's own.
        self.variables = {
            "ANDROID_ADB_SERVER_PORT": str(self.port), "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553", "ADB_MDNS_AUTO_CONNECT": "0",
        }  # fmt: skip
        with open(home / "adb.log", "w") as log:
            own = os.environ | self.variables | {"HOME": str(home)}
            self._process = start("adb", "-P", self.port, "server", "nodaemon", env=own, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while self.adb("devices").returncode:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RigUnavailable(f"adb server: {(home / 'adb.log').read_text()[-400:]}")
            time.sleep(0.1)

    def adb(self, *words: object, timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """One call of the stock client."""
        command = ["adb", *map(str, words)]
        return subprocess.run(command, env=os.environ | self.variables, capture_output=True, text=True, timeout=timeout_s, check=False)

    def connect(self, serial: str) -> None:
        """Attach the device at HOST:PORT; RigUnavailable when it does not answer within 20 s."""
        deadline = time.monotonic() + 20
        while True:
            self.adb("connect", serial)
            if self.adb("-s", serial, "shell", "echo up").stdout.strip() == "up":
                return
            if time.monotonic() > deadline:
                raise RigUnavailable(f"adb does not reach {serial}: {self.adb('devices').stdout}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End the server, and with it what tests started on the same port."""
        self.adb("kill-server")
        end(self._process)
