"""Where a job runs: this machine's own Python, or a device with the kit or a Python that it has."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgedistill.backends import Adapter, backends
from edgedistill.errors import DeviceFailed
from edgedistill.measure import document, local, remote, session
from edgedistill.measure.devices import facts, listing, open_device
from edgedistill.measure.devices.base import Device
from edgedistill.measure.job import Job
from edgedistill.measure.local import Reduced, Seen
from edgedistill.measure.locks import locked
from edgedistill.measure.records import Record
from edgedistill.records.devices import DeviceFacts
from edgedistill.records.measurements import MeasuredFile, Setup

KIT_BUILD = "CPU, glibc build, not the app's build"


class Runs(Protocol):
    """`local.run`, or `remote.run` of a session."""

    def __call__(
        self, job: Job, *, log: Path, timeout_s: float, reduce: Callable[[list[Record]], Reduced], records: Path | None = None,
        seen: Seen | None = None,
    ) -> Reduced:  # fmt: skip
        """Carry out a job; see `local.run`."""


@dataclass(frozen=True)
class Place:
    """A device that is ready: its facts, what runs a job there, the adapter's module by format, and what build of the runtimes that is."""

    device: Device
    facts: DeviceFacts
    run: Runs
    adapters: dict[str, str]
    build: str

    def setup(self, kind: document.Kind, artifact: MeasuredFile, threads: int) -> Setup:
        """What a measurement of a file here is about."""
        return document.setup(kind, self.facts, artifact, adapter=self.adapters.get(artifact.format), build=self.build, threads=threads)

    def adapter(self, form: str) -> str:
        """The module that runs files of a format. Raises DeviceFailed where nothing does."""
        if form not in self.adapters:
            has = ", ".join(sorted(self.adapters)) or "none"
            raise DeviceFailed(f"{self.facts.spec}: no runtime for {form} is there; it has runtimes for {has}")
        return self.adapters[form]


@contextmanager
def place(spec: str, *, python: str | None = None, mirror: str | None = None) -> Iterator[Place]:
    """Take the device `spec` for this process and make it ready.

    python: a Python on the device in place of the kit. mirror: where the kit's Debian packages come from. Raises UserError for a spec that
    is none and for a device that is in use, DeviceFailed for one that can't be reached or prepared.
    """
    device = open_device(spec)
    if spec == "local":
        with locked(device):
            modules = {form: adapters[0].module for form, adapters in on_device().items()}
            yield Place(device, listing.local(), local.run, modules, "CPU, the Python packages of this machine")
        return
    read = facts.read(device)
    with session.opened(device, lambda: python or _kit(device, read.machine, mirror)) as ready:

        def run(job: Job, **how: Any) -> Any:
            return remote.run(ready, job, **how)

        usable = _usable(ready)
        modules = {
            form: adapter.module for form, adapters in on_device().items() for adapter in reversed(adapters) if adapter.module in usable
        }
        build = KIT_BUILD if python is None else f"CPU, {python} of the device, not the app's build"
        yield Place(device, read, run, modules, build)


def on_device() -> dict[str, list[Adapter]]:
    """The adapters that may run on a device, by format, in the order of preference; formats that none runs are left out."""
    by_format = {form: [adapter for adapter in backend.adapters if adapter.on_device] for form, backend in backends().items()}
    return {form: adapters for form, adapters in by_format.items() if adapters}


def _kit(device: Device, machine: str, mirror: str | None) -> str:
    from edgedistill.measure.kit import build

    return f"{session.unpacked(device, build(machine, mirror=mirror).path, 'kits')}/python"


def _usable(ready: session.Session) -> set[str]:
    """The modules of the adapters whose runtimes work on the device."""
    packages = json.dumps({adapter.module: adapter.package for adapters in on_device().values() for adapter in adapters})
    command = f"{shlex.quote(ready.python)} -m edgedistill.measure.runner.available {shlex.quote(packages)}"
    script = f"cd {shlex.quote(ready.runner)} && {command}"
    reply = ready.patiently(lambda: ready.device.sh(script, timeout_s=120))
    if reply.code:
        last = (reply.err.strip() or reply.out.strip() or f"exit status {reply.code}").splitlines()[-1]
        raise DeviceFailed(f"{ready.device.spec}: {ready.python} does not run the runner: {last}")
    return set(json.loads(reply.out)["adapters"])
