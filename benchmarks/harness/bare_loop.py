"""Whether the harness measures what a bare loop around the same runtime measures. Prints a table in Markdown.

    python benchmarks/harness/bare_loop.py RUN

For each artifact of the run, in round after round, the harness and the bare loop (`bare.py`) measure it in processes of their own, in an
order that is drawn, until the 95% interval of the ratio of the medians has a half-width of 0.4%, or for --most rounds. The harness agrees
where the whole interval lies within 1%.
"""

import argparse
import math
import random
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from edgedistill.measure import local
from edgedistill.measure.adapters import executor
from edgedistill.measure.benchfile import facts_of
from edgedistill.measure.runner import facts
from edgedistill.measure.runner.job_types import BenchSettings
from edgedistill.measure.runner.ratio import bootstrap_interval, centre
from edgedistill.records import Latency
from edgedistill.verify.stored import SAMPLES

FORMATS = {"executorch": "pte", "litert": "tflite", "onnx": "onnx"}
WARMUP_S, SAMPLE_S = 0.3, 1.0
LIMIT, HALF_WIDTH, MIN_ROUNDS = 0.01, 0.004, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--most", type=int, default=40, help="rounds of an artifact at most")
    parser.add_argument("--only", choices=list(FORMATS), help="one format")
    asked = parser.parse_args()
    print(f"On {facts.machine()['cpu']}, {SAMPLE_S:g} s of samples in each process.\n")
    print("| artifact | harness p50 ms | bare loop p50 ms | ratio [95%] | rounds | within 1% |\n|---|---|---|---|---|---|")
    with TemporaryDirectory(prefix="bare-") as folder:
        inputs = Path(folder, "inputs.npy")
        np.save(inputs, np.load(asked.run / SAMPLES["val"] / "image.npy", mmap_mode="r")[:16])
        for form, suffix in FORMATS.items():
            if asked.only in (None, form):
                for precision in ("fp32", "int8"):
                    path = asked.run / "artifacts" / f"student-{precision}.{suffix}"
                    print(_row(path, form, inputs, asked.most, Path(folder, "log.txt")), flush=True)


def _row(path: Path, form: str, inputs: Path, most: int, log: Path) -> str:
    ways = {"harness": lambda: _harness(path, form, inputs, log), "bare": lambda: _bare(path, inputs)}
    found: dict[str, list[float]] = {name: [] for name in ways}
    choose, half, low, high = random.Random(0), math.inf, 0.0, math.inf
    while len(found["bare"]) < MIN_ROUNDS or (half > HALF_WIDTH and len(found["bare"]) < most):
        for name in choose.sample(list(ways), 2):
            found[name].append(ways[name]())
        ratios = [math.log(harness / bare) for harness, bare in zip(found["harness"], found["bare"], strict=True)]
        if ends := bootstrap_interval(ratios):
            low, high = (math.exp(end) for end in ends)
            half = (high - low) / 2
    outside = low > 1 + LIMIT or high < 1 - LIMIT
    agrees = "yes" if 1 - LIMIT <= low and high <= 1 + LIMIT else "NO" if outside else "not known: too noisy"
    medians = " | ".join(f"{median(found[name]):.4f}" for name in ways)
    return f"| {path.name} | {medians} | {math.exp(centre(ratios)):.4f} [{low:.4f}, {high:.4f}] | {len(ratios)} | {agrees} |"


def _harness(path: Path, form: str, inputs: Path, log: Path) -> float:
    # No width stops it early: both take samples for the same time.
    bench: BenchSettings = {"warmup_s": WARMUP_S, "max_s": SAMPLE_S, "min_s": SAMPLE_S, "min_samples": 50, "relative_width": 0.005}
    done = local.execute(
        executor(form).module, path, inputs, signature=facts_of(path)[1], outputs=None, threads=1, bench=bench, log=log, timeout_s=120
    )
    if not isinstance(done.latency_ms, Latency) or not isinstance(done.latency_ms.p50, float):
        raise SystemExit(f"{path} was not measured")
    return done.latency_ms.p50


def _bare(path: Path, inputs: Path) -> float:
    script = Path(__file__).with_name("bare.py")
    command = [sys.executable, str(script), str(path), str(inputs), str(WARMUP_S), str(SAMPLE_S)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout.split()[-1]) / 1e6


if __name__ == "__main__":
    main()
