"""One job from start to end: import the runtime, load twice, run every input, measure."""

import gc
import hashlib
import importlib
import os
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from edgedistill.measure.runner import facts
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.sampling import Forward, bench


def run(job: dict[str, Any], recorder: Recorder, latest: object = None) -> None:
    """Load the job's artifact twice, run its inputs, and measure, as it says; `latest` values of sensors are not needed for it."""
    adapter = importlib.import_module(job["adapter"])
    inputs = _open_inputs(job["inputs"])
    image = np.array(inputs[:1])
    adapter.prepare(job["threads"])
    gc.collect()

    # The peak is read before the other inputs are: the pages of their file would count as this process's memory.
    before = facts.resident_bytes()
    watch = facts.watch_peak()
    forward = _load(adapter, job, "first", recorder)
    started = perf_counter_ns()
    output = forward(image)
    recorder.write("first_inference", ns=perf_counter_ns() - started)
    recorder.write("memory", rss_runtime_loaded=before, **facts.peak_since(watch))
    width = _checked(output, 0, None).shape[1]

    # Released first: two copies at once would measure something that no application does.
    del forward
    gc.collect()
    forward = _load(adapter, job, "warm", recorder)
    if job["outputs"] is not None:
        _write_outputs(forward, inputs, width, Path(job["outputs"]), recorder)
    if job["bench"] is not None:
        bench(forward, inputs, job["bench"], recorder)


def _open_inputs(path: str) -> np.ndarray:
    inputs = np.load(path, mmap_mode="r", allow_pickle=False)
    if inputs.dtype not in (np.float32, np.uint8) or inputs.ndim != 4 or len(inputs) == 0:
        raise ValueError(
            f"{path}: expected float32 [N, C, H, W] or uint8 [N, H, W, C] with N > 0, found {inputs.dtype} {list(inputs.shape)}"
        )
    return inputs


def _load(adapter: Any, job: dict[str, Any], kind: str, recorder: Recorder) -> Forward:
    before, started = facts.resident_bytes(), perf_counter_ns()
    forward = adapter.load(job["artifact"], job["threads"])
    elapsed = perf_counter_ns() - started
    recorder.write("load", kind=kind, ns=elapsed, rss_bytes_before=before, rss_bytes_after=facts.resident_bytes())
    return forward


def _checked(output: np.ndarray, index: int, width: int | None) -> np.ndarray:
    """Return `output` if it is finite float32 [1, width]; whatever else a runtime answers is an error that names the input."""
    expected = f"float32 [1, {'classes' if width is None else width}]"
    if not isinstance(output, np.ndarray) or output.dtype != np.float32 or output.ndim != 2 or output.shape[0] != 1:
        found = f"{output.dtype} {list(output.shape)}" if isinstance(output, np.ndarray) else type(output).__name__
        raise ValueError(f"output of input {index}: expected {expected}, found {found}")
    if width is not None and output.shape[1] != width:
        raise ValueError(f"output of input {index}: expected {expected}, found float32 {list(output.shape)}")
    if bad := int(np.count_nonzero(~np.isfinite(output))):
        raise ValueError(f"output of input {index}: {bad} of {output.size} values are NaN or infinite")
    return output


def _write_outputs(forward: Forward, inputs: np.ndarray, width: int, path: Path, recorder: Recorder) -> None:
    outputs = np.empty((len(inputs), width), np.float32)
    for index in range(len(inputs)):
        outputs[index] = _checked(forward(np.array(inputs[index : index + 1])), index, width)[0]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as handle:
        np.save(handle, outputs)
        handle.flush()
        os.fsync(handle.fileno())
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    os.replace(temporary, path)
    recorder.write("output", path=str(path), sha256=digest, shape=list(outputs.shape))
