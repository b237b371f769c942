"""Allows one session per device: a lock on this machine, and a lock on the device against sessions from other machines."""

import fcntl
import getpass
import os
import platform
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.devices.base import Device
from edgedistill.measure.devices.commands import without_interrupts

_STALE_S = 600
# The lock has the boot id and the uptime: the wall clock of a device may jump, and no session survives a reboot.
_TAKE = """
L={root}/lock
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none)
now=$(cut -d. -f1 /proc/uptime)
mkdir -p {root} || exit 5
take() {{ mkdir "$L" 2>/dev/null || return 1; echo {owner} > "$L/owner"; echo "$boot $now" > "$L/beat"; }}
take && exit 0
owner=$(cat "$L/owner" 2>/dev/null)
read was at < "$L/beat" 2>/dev/null
if [ "$was" = "$boot" ] && [ $((now - ${{at:-0}})) -lt {stale} ] && [ "$owner" != {owner} ]; then echo "$owner"; exit 6; fi
rm -rf "$L"
take || {{ cat "$L/owner"; exit 6; }}
"""
BEAT = 'echo "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none) $(cut -d. -f1 /proc/uptime)" > {root}/lock/beat'
"""Script by which the session that holds the lock shows that it is alive."""


@contextmanager
def locked(device: Device) -> Iterator[None]:
    """Reserve `device` for this process. Raises UserError, which names the other session, if the device is in use."""
    with on_host(device.spec):
        if device.spec == "local":
            yield
            return
        owner = shlex.quote(f"{getpass.getuser()} on {platform.node()}")
        reply = device.sh(_TAKE.format(root=shlex.quote(device.root), owner=owner, stale=_STALE_S))
        if reply.code == 6:
            raise UserError(f"{device.spec} is in use by {reply.out.strip() or 'another session'}; wait for it, or choose another device")
        if reply.code:
            raise DeviceFailed(f"{device.spec}: {device.root} can't be created: {reply.err.strip() or reply.out.strip()}")
        try:
            yield
        finally:
            # If the link is down, the next session takes over the lock: from this machine at once, from another one after ten minutes.
            with without_interrupts(), suppress(DeviceFailed):
                device.sh(f"rm -rf {shlex.quote(device.root)}/lock", timeout_s=20)


@contextmanager
def on_host(spec: str) -> Iterator[None]:
    """Reserve the device for this process among those of this machine. Raises UserError, which names the other one, if it is in use."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgedistill" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / re.sub(r"[^A-Za-z0-9._-]", "_", spec)
    with open(path, "a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            who = f"another edgedistill (process {handle.read().strip() or 'unknown'})"
            raise UserError(f"{spec} is in use by {who}; wait for it, or choose another device") from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
