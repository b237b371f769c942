"""The load of a stress test: one or several instances of the model, each in a process of its own, until the time is up or it is too hot."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Literal

from edgedistill.measure.runner import bounded, guard
from edgedistill.measure.runner.conditions import Latest
from edgedistill.measure.runner.job_types import StressJob, StressSettings
from edgedistill.measure.runner.pace import pace
from edgedistill.measure.runner.record_types import Batch, Ready
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.signals import signal_name

_CHECK_S = 0.25
_START_DELAY_NS = 100_000_000
_GRACE_S = 3.0
_LOG_LINE = 1 << 16
# An instance that sends faster than records are written has to wait.
_WAITING = 1024
# An inference that has begun is let finish; one that takes longer than this is taken for a hang.
_OVERTIME_S = 30.0


def run(job: StressJob, recorder: Recorder, latest: Latest) -> None:
    """Load the device as `job["stress"]` says, and write the records of it.

    stress: "seconds"; "mode" with what `pace` takes; "instances"; "limit_c" and "min_battery" (percent) or None: past them it stops.
    Raises RuntimeError when every instance died. No instance is left when this returns or raises.
    """
    settings = job["stress"]
    pace(settings["mode"], settings["rate_hz"], settings["burst_s"], settings["pause_s"])
    with _instances(job) as load:
        load.await_ready(recorder)
        load.go(settings, recorder)
        ended = load.follow(settings, recorder, latest)
        died = [instance for instance in load.instances if instance.died]
        # A limit that no sensor could tell about was not kept, and the host must know.
        limits = {"limit_c": settings["limit_c"], "min_battery": settings["min_battery"]}
        unguarded = [name for name, limit in limits.items() if limit is not None and name not in load.guarded]
        recorder.write("stress_end", ended=ended, t_ns=time.monotonic_ns(), cpu_ns=time.process_time_ns(), unguarded=unguarded)
        if len(died) == len(load.instances):
            raise RuntimeError(f"all {len(died)} instances died, the last of them with: {died[-1].last_line or 'no message'}")


@dataclass
class _Instance:
    index: int
    process: subprocess.Popen[bytes]
    threads: list[threading.Thread] = field(default_factory=list)
    last_line: str = ""
    running: bool = True
    died: bool = False


class _Load:
    """The instances, and the queue through which their messages come: only the thread that asks it writes records."""

    def __init__(self) -> None:
        self.instances: list[_Instance] = []
        self.guarded: set[str] = set()
        self._messages: queue.Queue[tuple[_Instance, Ready | Batch | None]] = queue.Queue(_WAITING)

    def start(self, index: int, job: StressJob) -> None:
        command = [sys.executable, "-m", "edgedistill.measure.runner.instance"]
        # The modules that this process found must be found by its children, wherever it got them from.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        pipe = subprocess.PIPE
        instance = _Instance(index, subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe))
        self.instances.append(instance)
        for target in (self._read, self._log):
            instance.threads.append(threading.Thread(target=target, args=(instance,), daemon=True))
            instance.threads[-1].start()
        _tell(instance, job)

    def await_ready(self, recorder: Recorder) -> None:
        """Wait until each instance has run its first inference, or died."""
        waiting = {instance.index for instance in self.instances}
        while waiting:
            instance, message = self._messages.get()
            waiting.discard(instance.index)
            if message is None:
                self._closed(instance, recorder)
            else:
                recorder.write("instance_ready", index=instance.index, **message)

    def go(self, settings: StressSettings, recorder: Recorder) -> None:
        """Start all instances that live at one instant of the clock that they share."""
        t0 = time.monotonic_ns() + _START_DELAY_NS
        alive = [instance for instance in self.instances if instance.running]
        for instance in alive:
            _tell(instance, {"t0_ns": t0})
        recorder.write(
            "stress_start", t0_ns=t0, instances=[instance.index for instance in alive], seconds=settings["seconds"], mode=settings["mode"],
            rate_hz=settings["rate_hz"], burst_s=settings["burst_s"], pause_s=settings["pause_s"],
        )  # fmt: skip

    def follow(self, settings: StressSettings, recorder: Recorder, latest: Latest) -> Literal["time", "aborted", "died"]:
        """Write what the instances send until the last has ended; returns what ended the load: time, aborted or died."""
        end, checked, aborted = time.monotonic() + settings["seconds"] + _OVERTIME_S, 0.0, False
        while any(instance.running for instance in self.instances):
            now = time.monotonic()
            if now - checked >= _CHECK_S and not aborted:
                checked, values = now, guard.watched(latest())
                self.guarded.update(values)
                if why := guard.crossed(settings, values):
                    recorder.write("aborted", t_ns=time.monotonic_ns(), **why)
                    aborted, end = True, now + _GRACE_S
                    for instance in self.instances:
                        _close(instance)
            if now > end:
                self._kill()
            try:
                instance, message = self._messages.get(timeout=_CHECK_S)
            except queue.Empty:
                continue
            if message is None:
                self._closed(instance, recorder)
            else:
                recorder.write("instance", index=instance.index, **message)
        return "aborted" if aborted else "died" if all(instance.died for instance in self.instances) else "time"

    def end(self) -> None:
        """Ask all to end, and kill those that do not."""
        for instance in self.instances:
            _close(instance)
        end = time.monotonic() + _GRACE_S
        for instance in self.instances:
            try:
                instance.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                instance.process.kill()
                instance.process.wait()
            for thread in instance.threads:
                thread.join(_GRACE_S)

    def _kill(self) -> None:
        for instance in self.instances:
            if instance.running:
                instance.process.kill()

    def _closed(self, instance: _Instance, recorder: Recorder) -> None:
        code = instance.process.wait()
        instance.running = False
        if code == 0:
            return
        instance.died = True
        for thread in instance.threads:
            thread.join(_GRACE_S)
        name = signal_name(-code) if code < 0 else None
        recorder.write(
            "instance_died",
            index=instance.index,
            t_ns=time.monotonic_ns(),
            signal=name,
            exit=None if code < 0 else code,
            last_line=instance.last_line,
        )

    def _read(self, instance: _Instance) -> None:
        for line in _lines(instance.process.stdout, bounded.LONGEST_LINE):
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                # Half a line: the instance was killed while it wrote, or it writes without end.
                instance.process.kill()
                break
            self._messages.put((instance, message))
        self._messages.put((instance, None))

    def _log(self, instance: _Instance) -> None:
        for line in _lines(instance.process.stderr, _LOG_LINE):
            text = line.decode(errors="replace").rstrip()
            instance.last_line = text[-300:] or instance.last_line
            print(f"instance {instance.index}: {text}", file=sys.stderr, flush=True)


@contextmanager
def _instances(job: StressJob) -> Iterator[_Load]:
    load = _Load()
    try:
        for index in range(job["stress"]["instances"]):
            load.start(index, job)
        yield load
    finally:
        load.end()


def _tell(instance: _Instance, message: Mapping[str, object]) -> None:
    assert instance.process.stdin is not None
    # One that is dead cannot be told, and its closed stdout says so.
    with suppress(BrokenPipeError):
        instance.process.stdin.write(json.dumps(message).encode() + b"\n")
        instance.process.stdin.flush()


def _close(instance: _Instance) -> None:
    assert instance.process.stdin is not None
    with suppress(BrokenPipeError):
        instance.process.stdin.close()


def _lines(handle: IO[bytes] | None, longest: int) -> Iterator[bytes]:
    assert handle is not None
    with handle:
        yield from bounded.pieces(handle, longest)
