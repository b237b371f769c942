"""Serves processcontrol, the developer service that starts and ends apps. DTX is that of pymobiledevice3, whose two ends are alike."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from pymobiledevice3.dtx import DTXConnection, DTXService, dtx_on_invoke
from pymobiledevice3.dtx.exceptions import DTXNsError
from pymobiledevice3.dtx.ns_types import NSError

_APP = Path(__file__).resolve().parents[2] / "tests/iphones/measuring.py"


async def serve_dvt(phone, reader, writer):
    """Answer one connection."""

    class ProcessControl(DTXService):
        IDENTIFIER = "com.apple.instruments.server.services.processcontrol"

        @dtx_on_invoke("launchSuspendedProcessWithDevicePath:bundleIdentifier:environment:arguments:options:")
        async def launch(self, path, bundle, environment, arguments, options):
            if phone.about().get("locked"):
                raise refused(f"Unable to launch {bundle} because the device was not, or could not be, unlocked")
            assert options["KillExisting"], options
            if process := running(phone, bundle):
                os.kill(process, signal.SIGKILL)
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            line = [sys.executable, str(_APP), str(phone.folder), bundle]
            started = subprocess.Popen(line, env={**os.environ, **environment}, start_new_session=True, **quiet)
            (phone.folder / "pids" / bundle).write_text(str(started.pid))
            return started.pid

        @dtx_on_invoke("processIdentifierForBundleIdentifier:")
        async def identifier(self, bundle):
            return running(phone, bundle)

        @dtx_on_invoke("sendSignal:toPid:")
        async def send_signal(self, number, process):
            os.kill(process, number)

    connection = DTXConnection(reader, writer)
    connection.register_service(ProcessControl)
    await connection.connect()
    await connection.wait_disconnected()


def refused(why):
    return DTXNsError(NSError(7, "DTXMessage", {"NSLocalizedDescription": why}))


def running(phone, bundle):
    """The id of the app's process, or 0."""
    path = phone.folder / "pids" / bundle
    try:
        process = int(path.read_text())
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return 0
    return 0 if state == "Z" else process
