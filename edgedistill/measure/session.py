"""A session on a phone or board: it locks the device, cleans up after earlier sessions, and installs Python and the runner."""

import gzip
import io
import shlex
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from edgedistill import scratch
from edgedistill.backends import backends
from edgedistill.errors import DeviceFailed
from edgedistill.files import sha256_file, write_bytes
from edgedistill.measure.devices.base import Device, LinkLost, Reached
from edgedistill.measure.devices.commands import without_interrupts
from edgedistill.measure.locks import locked
from edgedistill.progress import log

RECONNECT_S = 120.0
Result = TypeVar("Result")
_KEPT_BYTES = 512 * 2**20

# A process id may belong to another process after a reboot or a reuse, so compare the command line as well.
ALIVE = """
alive() { [ -f "$1/pid" ] && grep -q edgedistill "/proc/$(cat "$1/pid")/cmdline" 2>/dev/null; }
"""
# A job leaves a script that undoes its changes of settings.
CLEAN_JOB = f"""{ALIVE}
clean() {{
  if alive "$1"; then
    group=$(cat "$1/pid")
    kill -TERM -- "-$group" 2>/dev/null
    n=0; while kill -0 -- "-$group" 2>/dev/null && [ $n -lt 30 ]; do sleep 0.1; n=$((n+1)); done
    kill -KILL -- "-$group" 2>/dev/null
  fi
  [ -f "$1/undo.sh" ] && sh "$1/undo.sh"
  rm -rf "$1"
}}
"""


@dataclass
class Session:
    """A reserved device. `python` is the command that starts Python there, `runner` the folder with the runner's code."""

    device: Device
    python: str
    runner: str
    reconnect_s: float = RECONNECT_S
    sent: dict[str, str] = field(default_factory=dict)

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Do `action`, and repeat it after each dropped link until the device has been away for `reconnect_s` seconds."""
        return patiently(self.device, self.reconnect_s, action)

    def send(self, path: Path) -> str:
        """The path of a copy of `path` on the device. A file that is there already, by its hash, is not sent again."""
        digest = sha256_file(path)
        target = f"{self.device.root}/files/{digest[:32]}{path.suffix}"
        if target not in self.sent:
            self.patiently(lambda: put(self.device, path, target, digest))
            self.sent[target] = digest
        return target


def patiently(device: Reached, reconnect_s: float, action: Callable[[], Result]) -> Result:
    """Do `action`, and repeat it after each dropped link until the device has been away for `reconnect_s` seconds."""
    lost: float | None = None
    while True:
        try:
            result = action()
        except LinkLost as error:
            now = time.monotonic()
            if lost is None:
                lost = now
                log(f"{error}; trying again for {reconnect_s:.0f} s")
            if now - lost >= reconnect_s:
                raise LinkLost(f"{error}; it did not come back within {reconnect_s:.0f} s") from error
            time.sleep(min(2.0, 0.2 + (now - lost) / 4))
            device.reconnect()
            continue
        if lost is not None:
            log(f"{device.spec} is back after {time.monotonic() - lost:.0f} s")
        return result


def put(device: Device, path: Path, target: str, digest: str) -> None:
    """Push `path` to `target`, which is named by the hash `digest`, unless it is there."""
    there = device.sh(f"[ -f {shlex.quote(target)} ] && touch {shlex.quote(target)} && sha256sum {shlex.quote(target)} | cut -d' ' -f1")
    if there.out.strip() != digest:
        device.push(path, target)


@contextmanager
def opened(device: Device, python: Callable[[], str], *, reconnect_s: float = RECONNECT_S) -> Iterator[Session]:
    """Reserve `device`, prepare it, and release it after the block. `python` installs or finds Python and returns the command for it.

    Raises UserError if another session uses the device, DeviceFailed if it can't be reached or prepared.
    """
    with locked(device):
        _drop_oldest(device)
        command = patiently(device, reconnect_s, python)
        yield Session(device, command, patiently(device, reconnect_s, lambda: _install_runner(device)), reconnect_s)


def _drop_oldest(device: Device) -> None:
    """Remove the least recently used files until the rest fits into 512 MiB."""
    listing = device.sh(
        f"ls -t {shlex.quote(device.root)}/files 2>/dev/null | while read -r f; do wc -c {shlex.quote(device.root)}/files/$f; done"
    )
    kept = 0
    for line in listing.out.splitlines():
        size, _, name = line.strip().partition(" ")
        kept += int(size) if size.isdigit() else 0
        if kept > _KEPT_BYTES:
            device.sh(f"rm -f {shlex.quote(name)}")


def end_others(device: Device, folder: str) -> None:
    """End the jobs of killed sessions, except the one in `folder`, and undo their changes of settings."""
    each = f'for job in {shlex.quote(device.root)}/jobs/*/; do job=${{job%/}}; [ ! -d "$job" ] || [ "$job" = {shlex.quote(folder)} ]'
    device.sh(f'{CLEAN_JOB}\n{each} || clean "$job"; done')


def end_job(device: Device, folder: str) -> None:
    """End a job's processes, undo its changes of settings, and remove its folder."""
    with without_interrupts():
        try:
            patiently(device, 20.0, lambda: device.sh(f"{CLEAN_JOB}\nclean {shlex.quote(folder)}", timeout_s=30))
        except DeviceFailed as error:
            log(f"{error}; the next session on {device.spec} will end what is left in {folder} and undo its changes")


def _install_runner(device: Device) -> str:
    """The folder on the device with the runner's code, which is sent if it is missing."""
    packed = runner_code()
    with scratch.temporary() as folder:
        archive = folder / "runner.tar"
        write_bytes(archive, packed)
        return unpacked(device, archive, "runner")


def unpacked(device: Device, archive: Path, kind: str) -> str:
    """The folder `kind`/HASH on the device with the content of a .tar or .tar.gz. It is sent if missing; older ones are removed."""
    name = sha256_file(archive)[:32]
    parent, quoted = f"{device.root}/{kind}", shlex.quote(f"{device.root}/{kind}/{name}")
    if device.sh(f"[ -f {quoted}/.complete ]").code == 0:
        return f"{parent}/{name}"
    with scratch.temporary() as folder:
        plain = archive
        if archive.suffix == ".gz" and device.sh("command -v gzip").code:
            plain = folder / archive.stem
            with gzip.open(archive) as packed, open(plain, "wb") as tar:
                shutil.copyfileobj(packed, tar)
        sent = f"{parent}/{plain.name}"
        device.push(plain, sent)
    # Unpack into a new folder, and rename it once it is complete.
    read = f"{'gzip -dc' if sent.endswith('.gz') else 'cat'} {shlex.quote(sent)}"
    script = f"cd {shlex.quote(parent)} && rm -rf new && mkdir new && {read} | tar -x -C new -f - && touch new/.complete && rm -rf {quoted}"
    reply = device.sh(f"{script} && mv new {quoted}; s=$?; rm -f {shlex.quote(sent)}; exit $s", timeout_s=900)
    if reply.code:
        raise DeviceFailed(f"{device.spec}: {archive.name} could not be unpacked in {parent}: {reply.err.strip() or reply.out.strip()}")
    device.sh(f'cd {shlex.quote(parent)} && for old in *; do [ "$old" = {name} ] || rm -rf "$old"; done')
    return f"{parent}/{name}"


def runner_code() -> bytes:
    """The runner and the adapters as a .tar: all that a device needs of edgedistill. Equal code gives equal bytes.

    Parent packages are empty in it, since the real ones import what a device lacks.
    """
    root, buffer = Path(str(files("edgedistill"))), io.BytesIO()
    runner = root / "measure" / "runner"
    chosen = {Path("edgedistill", path.relative_to(root)): path.read_bytes() for path in runner.rglob("*.py")}
    for adapters in (backend.adapters for backend in backends().values()):
        for adapter in adapters:
            if adapter.on_device:
                chosen[Path(*adapter.module.split(".")).with_suffix(".py")] = _source(adapter.module)
    for module in list(chosen):
        for package in module.parents[:-1]:
            chosen.setdefault(package / "__init__.py", b"")
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in sorted(chosen.items()):
            entry = tarfile.TarInfo(path.as_posix())
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _source(module: str) -> bytes:
    """The source code of an adapter, without importing it. Raises DeviceFailed if it has no Python file."""
    spec = find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise DeviceFailed(f"the adapter {module} has no Python file that could be sent to a device")
    return Path(spec.origin).read_bytes()
