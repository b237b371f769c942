"""What the stand-in app runs on the phone: the kit's own runner, with records of an app. `app.install` says in MODE what goes wrong.

It is started as `python measuring_app.py JOB MODEL FOLDER MODE`, in the folder of the runner's code.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, os.getcwd())

from edgedistill.backends.onnx import adapter
from edgedistill.measure.runner import sequence
from edgedistill.measure.runner.records import Recorder


def clock(recorder):
    recorder.write("clock", monotonic_ns=time.monotonic_ns(), time_ns=time.time_ns())


def main(job, model, folder, mode):
    job, model, folder = json.loads(job), Path(model), Path(folder)
    assert (job["task"], job["schema"]) == ("run", 3), job
    out = folder / job["out"]
    out.parent.mkdir(parents=True, exist_ok=True)
    inputs = out.parent / "x.npy"
    np.save(inputs, np.random.default_rng(0).random((4, 3, 16, 16), dtype=np.float32))
    with open(out, "wb") as handle:
        recorder = Recorder(handle)
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        nonce = job["nonce"] if mode != "nonce" else "0" * 32
        subject = {"artifact": job["artifact"], "sha256": digest, "threads": job["threads"]}
        recorder.write("start", nonce=nonce, versions=adapter.versions(), **subject)
        clock(recorder)
        if mode == "hang":
            time.sleep(600)
        if mode == "error":
            recorder.write("error", message="the self-test differs by 12 steps")
            return
        signature = {
            "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 3, 16, 16]}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 10]}],
        }
        ran = {"adapter": "edgedistill.backends.onnx.adapter", "artifact": str(model), "signature": signature, "outputs": None}
        sequence.run({**job, **ran, "inputs": {"x": str(inputs)}}, recorder)
        if mode == "crash":
            print("E AndroidRuntime: FATAL EXCEPTION: measuring", file=sys.stderr, flush=True)
            print("E AndroidRuntime: java.lang.OutOfMemoryError: it was too much", file=sys.stderr, flush=True)
            os._exit(1)
        clock(recorder)
        recorder.end(nonce)
    # Android keeps the process of an app whose screen is done.
    time.sleep(600)


main(*sys.argv[1:])
