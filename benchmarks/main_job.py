"""Measures what the main job promises, and prints it as Markdown: the parts Time and Artifacts of docs/benchmarks.md.

How long `--help` and a recipe with three mistakes take, how long the quickstart takes, and what its artifacts are. Run it on a
machine that does nothing else; it takes about six minutes.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "edgedistill"]
MISTAKES = "name: wrong\ndata: {imagesize: 32}\nteacher: {model: resnet10t, train: {epochs: -1}}\nstudent: {model: 7}\n"


def timed(arguments: list[str], folder: Path, code: int) -> float:
    """Seconds that the command takes, which must end with `code`."""
    started = time.perf_counter()
    done = subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode != code:
        raise RuntimeError(f"{arguments} ended with {done.returncode}, expected {code}: {done.stderr[-2000:]}")
    return elapsed


def row(name: str, seconds: list[float], promise: str) -> str:
    """One row of the first table: median and largest."""
    return f"| {name} | {promise} | {statistics.median(seconds):.2f} s | {max(seconds):.2f} s | {len(seconds)} |"


def artifact_row(artifact: dict[str, Any]) -> str:
    """One row of the table of artifacts."""
    parity, latency = artifact["parity"], artifact["latency_ms"]
    accuracy = f"{artifact['score']['val']['value']:.1%} | {artifact['score']['holdout']['value']:.1%}"
    if "mean_lsb" in parity:
        share = f"{parity['within_2_lsb']:.2%} within 2, {parity['exact']:.1%} equal"
        verified = f"mean {parity['mean_lsb']:.3f} LSB, {share}, {parity['flips']} flips"
    else:
        verified = f"{parity['relative']:.1e} of the largest logit, {parity['flips']} flips"
    if "unavailable" in latency:
        measured = "unavailable | unavailable"
    else:
        measured = f"{latency['p50']:.3f} / {latency['p95']:.3f} (n = {latency['n']}) | {artifact['peak_rss_mb']:.1f}"
    return f"| `{artifact['name']}` | {artifact['bytes'] / 1e6:.2f} | {accuracy} | {measured} | {verified} |"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "wrong.yaml").write_text(MISTAKES)
        helps = [timed(["--help"], folder, 0) for _ in range(21)]
        mistakes = [timed(["run", "wrong.yaml"], folder, 2) for _ in range(11)]
        whole = timed(["run", "recipes/quickstart.yaml"], folder, 0)
        summary = json.loads((folder / "runs" / "quickstart" / "summary.json").read_text())
    machine = summary["environment"]
    print("# Benchmarks\n")
    print("Time and artifacts: written by `python benchmarks/main_job.py` on a machine that did nothing else.\n")
    flags = " ".join(machine["cpu_flags"])
    print(f"{summary['created'][:10]}: {machine['cpu']}, {machine['cores']} cores ({flags}), Python {machine['python']}.\n")
    print("## Time\n\n| what | promised | median | largest | n |\n| --- | --- | --- | --- | --- |")
    print(row("`edgedistill --help`", helps, "0.15 s"))
    print(row("a recipe with three mistakes, reported", mistakes, "1.5 s"))
    print(row("`edgedistill run recipes/quickstart.yaml`", [whole], "300 s"))
    parts = ", ".join(f"{key} {value:.0f} s" for key, value in summary["seconds"].items())
    print(f"\nThe quickstart's steps, of which export, verify and holdout run two at a time: {parts}.\n")
    print("## Artifacts of the quickstart\n")
    print(f"{summary['verdict']['text']}\n")
    print("| rung | accuracy on val | 95% interval |\n| --- | --- | --- |")
    for rung in summary["ladder"][:5]:
        val = rung["score"]["val"]
        print(f"| {rung['rung']} ({rung['model']}) | {val['value']:.1%} | {val['interval'][0]:.1%} to {val['interval'][1]:.1%} |")
    print("\nLatency at batch 1 on one thread, through each runtime's Python interface.\n")
    print(
        "| artifact | MB | val | holdout | p50 / p95, ms | peak, MiB | against its reference |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    for artifact in summary["artifacts"]:
        print(artifact_row(artifact))
    print("\n| int8 artifacts | mean, LSB | largest, LSB | equal |\n| --- | --- | --- | --- |")
    for pair in summary["pairs"]:
        print(f"| `{pair['a']}`, `{pair['b']}` | {pair['mean_lsb']:.3f} | {pair['max_lsb']:g} | {pair['exact']:.1%} |")


if __name__ == "__main__":
    main()
