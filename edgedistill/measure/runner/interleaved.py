"""A and B compared: in round after round each gets a new process, and the two take turns in blocks of some tens of milliseconds."""

import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal

from edgedistill.measure.runner import bounded
from edgedistill.measure.runner.job_types import CompareJob
from edgedistill.measure.runner.ratio import bootstrap_interval, log_ratios
from edgedistill.measure.runner.record_types import Block, LoadFigures, TimedBlock, WarmupFigures
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.signals import signal_name

_GRACE_S = 5.0


def run(job: CompareJob, recorder: Recorder, latest: object = None) -> None:
    """Compare the job's `a` and `b`, each {adapter, artifact, signature, inputs}, as its `compare` says, and write the records of it.

    compare: block_s, and pairs of a block of each side in a round; warmup_s bounds the warm-up of each process; relative_width is the
    half-width of the ratio's 95% interval at which it stops, and the drift that a warm-up tolerates; max_s bounds the time, except that
    min_rounds are always done; seed decides which side goes first. `latest` values of sensors are not needed for it.
    Raises RuntimeError, naming the side and its last words, when a process of it died.
    """
    settings, started = job["compare"], time.monotonic()
    choose, blocks = random.Random(settings["seed"]), list[Block]()
    rounds, stopped = 0, ""
    while not stopped:
        blocks += _round(job, rounds, choose, recorder)
        rounds += 1
        if rounds < settings["min_rounds"]:
            continue
        interval = bootstrap_interval(log_ratios(blocks), settings["seed"])
        if interval and math.expm1((interval[1] - interval[0]) / 2) <= settings["relative_width"]:
            stopped = "narrow"
        elif time.monotonic() - started >= settings["max_s"]:
            stopped = "time"
    recorder.write("compared", rounds=rounds, stopped=stopped, seed=settings["seed"])


def _round(job: CompareJob, number: int, choose: random.Random, recorder: Recorder) -> list[Block]:
    """Start both sides, warm them up, and let them take turns; returns the `block` records."""
    settings, blocks = job["compare"], list[Block]()
    order: list[Literal["a", "b"]] = ["a", "b"]
    choose.shuffle(order)
    with _side(job, order[0]) as first, _side(job, order[1]) as second:
        sides = (first, second)
        # Both have imported their runtimes before either loads or is timed.
        for side in sides:
            side.answer()
        for side in sides:
            loaded: LoadFigures = side.ask("load")
            recorder.write(
                "load", kind="first", side=side.name, round=number, ns=loaded["ns"], rss_bytes_before=loaded["rss_bytes_before"],
                rss_bytes_after=loaded["rss_bytes_after"],
            )  # fmt: skip
            recorder.write("first_inference", side=side.name, round=number, ns=loaded["first_inference_ns"])
        for side in sides:
            warmed: WarmupFigures = side.ask("warm_up", bound_s=settings["warmup_s"], tolerance=settings["relative_width"])
            recorder.write("warmup", side=side.name, round=number, **warmed)
        for pair in range(settings["pairs"]):
            # A B, B A, A B: a drift over the round meets both alike.
            for side in sides if pair % 2 == 0 else sides[::-1]:
                timed: TimedBlock = side.ask("block", min_ns=round(settings["block_s"] * 1e9))
                recorder.write("block", side=side.name, round=number, **timed)
                blocks.append({"type": "block", "side": side.name, "round": number, **timed})
    return blocks


@contextmanager
def _side(job: CompareJob, name: Literal["a", "b"]) -> Iterator["_Side"]:
    """The process of a side, which is gone when the block ends."""
    side = _Side(name, job[name]["artifact"])
    try:
        side.send({**job[name], "threads": job["threads"]})
        yield side
    finally:
        side.end()


class _Side:
    """A process of one side and the pipes to it; what it writes to stderr goes into the log, and its last line is kept."""

    def __init__(self, name: Literal["a", "b"], artifact: str) -> None:
        self.name, self._artifact, self._last_line = name, artifact, ""
        pipe = subprocess.PIPE
        # The modules that this process found must be found by its children, wherever it got them from.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        command = [sys.executable, "-m", "edgedistill.measure.runner.side"]
        self._process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
        self._log = threading.Thread(target=self._follow_log, daemon=True)
        self._log.start()

    def ask(self, command: str, **arguments: float) -> Any:
        """Give a command and wait for its answer, a JSON object."""
        self.send({"do": command, **arguments})
        return self.answer()

    def send(self, message: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        # One that is dead can't be told, and that it does not answer says so.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self) -> Any:
        """The answer to what was sent last, a JSON object. Raises RuntimeError when there is none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline(bounded.LONGEST_LINE)
        if line.endswith(b"\n"):
            return json.loads(line)
        if len(line) == bounded.LONGEST_LINE:
            self._process.kill()
            raise RuntimeError(f"side {self.name} ({self._artifact}) was stopped, since its answer had no end")
        code = self._process.wait()
        self._log.join(_GRACE_S)
        how = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit status {code}"
        raise RuntimeError(f"side {self.name} ({self._artifact}) {how}: {self._last_line or 'it wrote nothing'}")

    def end(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.join(_GRACE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _follow_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in bounded.pieces(lines):
                text = line.decode(errors="replace").rstrip()
                self._last_line = text[-300:] or self._last_line
                print(f"side {self.name}: {text}", file=sys.stderr, flush=True)
