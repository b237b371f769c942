"""A stand-in for a measuring app: it times a loop of its own, and writes its records into its Documents on the phone, a folder.

`measuring.py PHONE BUNDLE`, with the job in EDGEDISTILL_JOB. The file PHONE/mode says what it does wrong.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

PHONE, BUNDLE = Path(sys.argv[1]), sys.argv[2]
DOCUMENTS = PHONE / "containers" / BUNDLE / "Documents"
JOB = json.loads(os.environ["EDGEDISTILL_JOB"])
MODE = (PHONE / "mode").read_text() if (PHONE / "mode").exists() else ""
STATE = json.loads((PHONE / "state.json").read_text()) if (PHONE / "state.json").exists() else {"thermal.state": 0.0}
# The clock of a phone is not that of the computer.
SLEPT_NS = 3_000_000_000_000_000


def now_ns():
    return time.monotonic_ns() + SLEPT_NS


class Records:
    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.handle, self.digest, self.count = open(path, "wb"), hashlib.sha256(), 0  # noqa: SIM115

    def write(self, kind, /, **fields):
        line = json.dumps({"type": kind, **fields}).encode() + b"\n"
        self.handle.write(line)
        self.handle.flush()
        self.digest.update(line)
        self.count += 1

    def end(self, nonce):
        self.write("end", nonce=nonce, records=self.count, sha256=self.digest.hexdigest())


def clock(records):
    records.write("clock", monotonic_ns=now_ns(), time_ns=time.time_ns())


def inference():
    return sum(i * i for i in range(2000))


def timed(work):
    began = now_ns()
    work()
    return now_ns() - began


def measure(records):
    versions = {"CoreML": "18.0"}
    sha256 = "0" * 64 if MODE == "other file" else JOB["sha256"]
    nonce = "0" * 32 if MODE == "other nonce" else JOB["nonce"]
    records.write("start", nonce=nonce, versions=versions, artifact=JOB["artifact"], sha256=sha256, threads=JOB["threads"])
    clock(records)
    units = {"thermal.state": "level", "battery.level": "%", "memory.footprint": "bytes"}
    known = [{"name": name, "unit": units[name], "source": "the app"} for name in STATE]
    records.write("sensors", interval_s=1.0, available=known, unavailable=[])
    records.write("load", kind="first", ns=timed(inference))
    records.write("first_inference", ns=timed(inference))
    records.write("load", kind="warm", ns=timed(inference))
    if MODE == "error":
        records.write("error", message="the app left the foreground")
        time.sleep(60)
    records.write("warmup", iterations=80, windows=8, steady=True, ns=timed(lambda: [inference() for _ in range(80)]))
    if MODE == "crash":
        os.abort()
    if MODE == "stall":
        time.sleep(60)
    left, until = JOB["bench"]["min_samples"], time.monotonic() + JOB["bench"]["min_s"]
    while left > 0 or time.monotonic() < until or MODE == "slow":
        t0_ns, durations = now_ns(), [timed(inference) for _ in range(50)]
        left -= 50
        scale = 1000 if MODE == "wrong clock" else 1
        records.write("iterations", t0_ns=t0_ns * scale, durations_ns=[ns * scale for ns in durations])
        records.write("sensor", t_ns=now_ns(), values=STATE)
    clock(records)
    if MODE == "truncated":
        records.count += 3
    records.end(JOB["nonce"])
    time.sleep(60)


# Where nobody ends it, as when a test was killed.
signal.alarm(90)
if MODE == "dead":
    os.abort()
measure(Records(DOCUMENTS / JOB["out"]))
