"""One job from start to end: import the runtime, load twice, run every input, measure."""

import gc
import importlib
from time import perf_counter_ns
from types import ModuleType
from typing import Literal

from edgedistill.measure.runner import facts, generation
from edgedistill.measure.runner.job_types import RunJob
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.samples import Forward, Promised, Samples
from edgedistill.measure.runner.sampling import bench


def run(job: RunJob, recorder: Recorder, latest: object = None) -> None:
    """Load the job's artifact twice, run its inputs, and measure, as it says; `latest` values of sensors are not needed for it."""
    adapter = importlib.import_module(job["adapter"])
    samples, promised = Samples(job["inputs"], job["signature"]["inputs"]), Promised(job["signature"]["outputs"])
    sample = samples[0]
    adapter.prepare(job["threads"])
    gc.collect()

    # The peak is read before the other inputs are: the pages of their files would count as this process's memory.
    before = facts.resident_bytes()
    watch = facts.watch_peak()
    forward = _load(adapter, job, "first", recorder)
    started = perf_counter_ns()
    output = forward(sample)
    recorder.write("first_inference", ns=perf_counter_ns() - started)
    recorder.write("memory", rss_runtime_loaded=before, **facts.peak_since(watch)._asdict())
    promised.checked(output, 0)

    # Released first: two copies at once would measure something that no application does.
    del forward
    gc.collect()
    forward = _load(adapter, job, "warm", recorder)
    if job["outputs"] is not None:
        promised.write(forward, samples, job["outputs"], recorder)
    if job["bench"] is not None:
        bench(forward, samples, job["bench"], recorder)
        if (asked := job.get("generation")) is not None:
            # Loaded once more: a runtime may keep the memory that its largest call took.
            del forward, output
            gc.collect()
            forward = adapter.load(job["artifact"], job["threads"], job["signature"])
            generation.bench(forward, samples, asked, job["bench"], before, recorder)


def _load(adapter: ModuleType, job: RunJob, kind: Literal["first", "warm"], recorder: Recorder) -> Forward:
    before, started = facts.resident_bytes(), perf_counter_ns()
    forward = adapter.load(job["artifact"], job["threads"], job["signature"])
    elapsed = perf_counter_ns() - started
    recorder.write("load", kind=kind, ns=elapsed, rss_bytes_before=before, rss_bytes_after=facts.resident_bytes())
    return forward
