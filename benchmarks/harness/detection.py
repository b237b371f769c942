"""How often a comparison finds a slowdown of 3%, and how often it takes equal builds for different. Prints a table in Markdown.

    python benchmarks/harness/detection.py MODEL --trials 200 --out detection.jsonl

MODEL is a .tflite, .onnx or .pte that takes one float32 image. Each trial is a whole comparison through the runner, with new processes in
each round; trials of equal builds and of a slowed B alternate. Trials are appended to --out, and a run that was cut goes on from there.
"""

import argparse
import json
import os
import time
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

from scipy.stats import binomtest

from edgedistill.backends.inspect import inspect
from edgedistill.measure import comparison, local
from edgedistill.measure.adapters import executor
from edgedistill.measure.benchfile import method_of, write_random_samples
from edgedistill.measure.job import CompareJob, Side, by_name
from edgedistill.measure.runner import facts
from edgedistill.measure.runner.job_types import CompareSettings

SETTINGS: CompareSettings = {
    "block_s": 0.03,
    "pairs": 4,
    "warmup_s": 0.1,
    "relative_width": 0.01,
    "max_s": 60.0,
    "min_rounds": 8,
    "seed": 0,
}
KINDS = ("equal", "slowed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--trials", type=int, default=200, help="of each kind")
    parser.add_argument("--share", type=float, default=0.03, help="the slowdown")
    parser.add_argument("--out", type=Path, default=Path("detection.jsonl"))
    asked = parser.parse_args()
    # The runner's children import the adapter that slows.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent.resolve()), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    with TemporaryDirectory(prefix="detection-") as folder:
        jobs = _jobs(asked.model, asked.share, Path(folder))
        for number in range(len(done), len(KINDS) * asked.trials):
            kind = KINDS[number % len(KINDS)]
            trial = _trial(kind, jobs[kind], number, Path(folder, "log.txt"))
            done.append(trial)
            with open(asked.out, "a") as handle:
                handle.write(json.dumps(trial) + "\n")
            if number % 20 == 19:
                print(f"<!-- {number + 1} trials; wrong so far: {_wrong(done)} -->", flush=True)
    _report(asked.model, asked.share, done)


def _jobs(model: Path, share: float, folder: Path) -> dict[str, dict[str, Side]]:
    """For each kind of trial the two sides of its job."""
    found = inspect(model)
    adapter = executor(found.format).module
    method = method_of(model, found)
    write_random_samples(folder, method, 8)
    inputs, sides = by_name(method.inputs, folder), {}
    for name, by in (("a", 0.0), ("b", share)):
        artifact = folder / f"{name}.json"
        artifact.write_text(json.dumps({"adapter": adapter, "artifact": str(model.resolve()), "share": by}))
        sides[name] = Side("slowed", artifact, method, inputs)
    plain = Side(adapter, model, method, inputs)
    return {"equal": {"a": plain, "b": plain}, "slowed": sides}


def _trial(kind: str, sides: dict[str, Side], seed: int, log: Path) -> dict[str, Any]:
    started = time.monotonic()
    job = CompareJob(a=sides["a"], b=sides["b"], threads=1, compare={**SETTINGS, "seed": seed})
    found = local.run(job, log=log, timeout_s=300, reduce=comparison.compare)
    return {
        "kind": kind,
        "verdict": found.verdict,
        "ratio": found.ratio.value,
        "interval": found.ratio.interval,
        "rounds": found.rounds.n,
        "stopped": found.stopped,
        "p50_ms": found.a.latency_ms.p50,
        "seconds": time.monotonic() - started,
    }


def _wrong(trials: list[dict[str, Any]]) -> dict[str, int]:
    right = {"equal": "no difference", "slowed": "worse"}
    return {kind: sum(t["kind"] == kind and t["verdict"] != right[kind] for t in trials) for kind in KINDS}


def _report(model: Path, share: float, trials: list[dict[str, Any]]) -> None:
    wrong = _wrong(trials)
    print(f"{model.name}, p50 {median(t['p50_ms'] for t in trials):.3f} ms, on {facts.machine()['cpu']}; settings {json.dumps(SETTINGS)}\n")
    print("| | called different | [95%] | interval holds the truth | mean ratio | half-width, median | rounds | s a trial |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, name, truth in (("equal", "equal builds", 1.0), ("slowed", f"B slowed by {share:.0%}", 1 + share)):
        mine = [t for t in trials if t["kind"] == kind]
        called = wrong[kind] if kind == "equal" else len(mine) - wrong[kind]
        # Clopper and Pearson, Biometrika 26 (1934).
        ends = binomtest(called, len(mine)).proportion_ci(0.95, method="exact")
        held = sum(t["interval"][0] <= truth <= t["interval"][1] for t in mine)
        halves = [(t["interval"][1] - t["interval"][0]) / 2 for t in mine]
        cells = [
            f"{called} of {len(mine)}",
            f"[{ends.low:.1%}, {ends.high:.1%}]",
            f"{held} of {len(mine)}",
            f"{fmean(t['ratio'] for t in mine):.4f}",
            f"{median(halves):.2%}",
            f"{fmean(t['rounds'] for t in mine):.1f}",
            f"{fmean(t['seconds'] for t in mine):.1f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
