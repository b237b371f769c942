"""What a prompt of 192 tokens costs: logits of all its tokens or of the last one, at once or in pieces.

    OMP_NUM_THREADS=1 python benchmarks/text/prompts.py FOLDER [--vocabulary 2048] [--rounds 7]

A llama of 4 layers x 256 with random weights, of which time does not depend, on one thread. Each round starts a process for each file, in
which the ways to give a prompt take turns. The table has processor time, and its ratio to that with the logits of all tokens.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from decode import FILES, PREFILL, programs, student
from gguf_runtime import Kit

from edgedistill.records import ArtifactSpec

WAYS: dict[str, int | None] = {"all": None, "last": PREFILL, "96": 96, "64": 64, "32": 32}
"""How a prompt is given: in pieces of so many tokens, with the logits of the last one, or at once with all logits (None)."""
_BLOCKS, _BLOCK_S = 4, 0.05


def measure(path: Path, program: Path) -> dict[str, list[float]]:
    """Milliseconds of processor time of a prompt: the median of each block, by the way the prompt is given."""
    running = Kit(path, program)
    prompt = np.random.default_rng(0).integers(10, 2000, PREFILL).astype(np.int32)

    def write(piece: int | None) -> int:
        begun = time.process_time_ns()
        for start in range(0, PREFILL, piece or PREFILL):
            running.forward(prompt[start : start + (piece or PREFILL)], start, every=piece is None)[-1].argmax()
        return time.process_time_ns() - begun

    found: dict[str, list[float]] = {way: [] for way in WAYS}
    repeats = {way: max(3, int(_BLOCK_S * 1e9 / min(write(piece) for _ in range(3)))) for way, piece in WAYS.items()}
    for block in range(_BLOCKS):
        for way, piece in list(WAYS.items())[:: -1 if block % 2 else 1]:
            found[way].append(float(np.median([write(piece) for _ in range(repeats[way])])) / 1e6)
    return found


def row(name: str, rounds: list[dict[str, list[float]]]) -> str:
    """The line of a file: the median of each way, and its ratio to `all` with its interval."""
    from edgedistill.measure.runner.ratio import bootstrap_interval, centre

    times = {way: np.array([found[way] for found in rounds]) for way in WAYS}
    cells = [f"{np.median(times['all']):.2f}"]
    for way in list(WAYS)[1:]:
        # Neighbouring blocks are compared; rounds differ by the layout of their memory.
        logs = np.median(np.log(times[way] / times["all"]), axis=1).tolist()
        low, high = bootstrap_interval(logs) or (math.nan, math.nan)
        cells.append(f"{np.median(times[way]):.2f}: {math.exp(centre(logs)):.2f} ({math.exp(low):.2f} to {math.exp(high):.2f})")
    return f"| `{name}` | {' | '.join(cells)} |"


def main() -> None:
    """Make the files that are not there, and print the table; or measure one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--files", help="names of files, with commas between them; all by default")
    parser.add_argument("--rounds", type=int, default=7, help="times that all processes are started anew")
    parser.add_argument("--measure", metavar="FILE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    folder = given.folder
    source = folder / "programs/student-float.pt2"
    if given.measure:
        print(json.dumps(measure(folder / given.measure, source)))
        return
    specs = [ArtifactSpec(kind, precision) for kind, precision in FILES]
    names = given.files.split(",") if given.files else [spec.name for spec in specs]
    _make([spec for spec in specs if spec.name in names and not (folder / spec.name).exists()], folder, given.vocabulary)
    rounds: dict[str, list[dict[str, list[float]]]] = {name: [] for name in names}
    for _ in range(given.rounds):
        for name in names:
            command = [sys.executable, __file__, str(folder), "--measure", name]
            rounds[name].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))
    print("| file | all logits, ms | the last one's | in pieces of 96 | of 64 | of 32 |\n" + "| --- " * 6 + "|")
    print("\n".join(row(name, found) for name, found in rounds.items()))


def _make(specs: list[ArtifactSpec], folder: Path, vocabulary: int) -> None:
    """Write the files `specs` into `folder`."""
    from edgedistill.export.lower import lower

    if specs:
        folder.mkdir(parents=True, exist_ok=True)
        programs(student(vocabulary), folder, [spec.precision for spec in specs])
    for kind in dict.fromkeys(spec.format for spec in specs):
        made = lower([spec for spec in specs if spec.format == kind], folder, folder, folder / "log", {})
        if made.error:
            raise SystemExit(made.error)


if __name__ == "__main__":
    main()
