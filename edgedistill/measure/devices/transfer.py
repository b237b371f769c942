"""Copies files to and from a device and checks their hash. If the link drops, the old file stays."""

import shlex
from collections.abc import Callable
from pathlib import Path

from edgedistill.errors import DeviceFailed
from edgedistill.files import sha256_file
from edgedistill.measure.devices.base import Device
from edgedistill.measure.devices.commands import complete

_MOST = 4 << 30
"""Bytes of a file that is pulled: a device that tells more is not believed."""
_DIGEST = "sha256sum {path} | cut -d' ' -f1"


def push(device: Device, source: Path, target: str, send: Callable[[Path, str], str]) -> None:
    """Copy `source` to `target` on the device. `send` copies and returns an error message or nothing; then the hash is checked."""
    part, digest = f"{target}.part", sha256_file(source)
    quoted = shlex.quote(part)
    device.sh(f"mkdir -p {shlex.quote(target.rpartition('/')[0])}")
    failure = send(source, part)
    arrived = device.sh(_DIGEST.format(path=quoted)).out.strip()
    if arrived != digest:
        room = device.sh(f"rm -f {quoted}; df -k {shlex.quote(target.rpartition('/')[0])} | tail -1").out.split()
        free = f"; {int(room[3]) / 1024:.0f} MiB are free there" if len(room) > 3 and room[3].isdigit() else ""
        need = f"{source.stat().st_size / 2**20:.1f} MiB"
        why = failure or "it was changed on the way"
        raise DeviceFailed(f"{device.spec}: {source.name} ({need}) did not arrive at {target}: {why}{free}")
    moved = device.sh(f"mv -f {quoted} {shlex.quote(target)}")
    if moved.code:
        raise DeviceFailed(f"{device.spec}: {target} could not be written: {moved.err.strip() or moved.out.strip()}")


def pull(device: Device, source: str, target: Path, fetch: Callable[[str, Path, int], str]) -> None:
    """Copy `source` from the device by `fetch`, and put it at `target` when its hash is right.

    fetch: copies so many bytes and no more, and returns what went wrong.
    """
    quoted = shlex.quote(source)
    asked = device.sh(f"[ -f {quoted} ] || exit 7\n{_DIGEST.format(path=quoted)}; wc -c < {quoted}")
    if asked.code == 7:
        raise DeviceFailed(f"{device.spec}: there is no file {source}")
    digest, size = (*asked.out.split(), "", "")[:2]
    if not size.isdigit() or len(size) > len(str(_MOST)) or int(size) > _MOST:
        raise DeviceFailed(f"{device.spec}: {source} has {size[:30] or 'an unknown number of'} bytes, expected at most {_MOST >> 30} GiB")
    part = complete(target)
    try:
        failure = fetch(source, part, int(size))
        arrived = sha256_file(part) if part.exists() else "no file"
        if arrived != digest:
            raise DeviceFailed(f"{device.spec}: {source} did not arrive whole{': ' + failure if failure else ''}")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
