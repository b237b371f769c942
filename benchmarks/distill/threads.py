"""How good the number of threads is that training chooses: on an idle machine, beside a busy core, and under a quota of one core.

The same training runs with each fixed number of threads and with the choice by timing, in turns, each time in a process of its own; its
seconds include those of the choice. Fixed numbers run with threads that spin while they wait, which is OpenMP's default, and with threads
that sleep soon, which is the kit's. The quota is that of a control group, which takes root. "Idle" is as idle as the machine is: the table
says the load.

Run: python benchmarks/distill/threads.py [--repeats 5] [--models test_resnet:32,mobilenetv4_conv_small:64]. It prints a table in Markdown.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from edgedistill.threads import wait_shortly

CONDITIONS = ("idle", "one core busy", "quota of one core")
GROUPS = Path("/sys/fs/cgroup")
_TIMEOUT_S = 120.0


def train(model: str, size: int, count: str, steps: int) -> None:
    """Train `model` on random images in this process; prints its seconds and the number of threads."""
    import numpy as np

    from edgedistill.distill.lesson import Lesson, Stage
    from edgedistill.distill.trainer import Options, fit
    from edgedistill.tasks.image_classification.dataset import ImageDataset
    from edgedistill.tasks.image_classification.imageset import ImageSet
    from edgedistill.tasks.image_classification.models import build_model, signature
    from edgedistill.tasks.image_classification.preprocessed import Preprocessed
    from edgedistill.tasks.image_classification.recipe.data import Augment
    from edgedistill.tasks.image_classification.recipe.losses import ClassificationLosses
    from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION

    images = np.random.default_rng(0).integers(0, 255, (32 * steps + 32, 3, size, size), dtype=np.uint8)
    indices = {"train": np.arange(32 * steps), "val": np.arange(32 * steps, len(images)), "holdout": np.arange(0)}
    data = ImageSet("random", [str(i) for i in range(10)], images, np.arange(len(images)) % 10, indices, "random", {})
    lesson = Lesson(IMAGE_CLASSIFICATION, signature(size, 10), ImageDataset(data, Augment(), 0), 1, 32, 0)
    stage = Stage("finetune", 2, 1e-3, ClassificationLosses.model_validate({"ce": {}}))
    module = Preprocessed(build_model(model, 10), (0.5,) * 3, (0.5,) * 3)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        options = Options(threads="auto" if count == "auto" else int(count))
        curve = fit(module, lesson, [stage], name="student", path=Path(folder, "x", "checkpoint.safetensors"), options=options)
        print(time.monotonic() - begun, curve[-1]["threads"])


@contextmanager
def busy() -> Iterator[None]:
    """A process that computes on the last core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def quota() -> Iterator[Path]:
    """A control group with one core of processor time; OSError where none can be made."""
    first = (GROUPS / "cgroup.controllers").exists()
    group = (GROUPS if first else GROUPS / "cpu") / f"edgedistill-{os.getpid()}"
    group.mkdir()
    try:
        if first:
            (group / "cpu.max").write_text("100000 100000")
        else:
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text("100000")
        yield group
    finally:
        group.rmdir()


def seconds(model: str, size: str, way: tuple[str, str], steps: int, group: Path | None) -> tuple[float, int]:
    """Seconds of a training, and its threads; infinity where it took more than two minutes."""
    count, policy = way
    fixed = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {key: value for key, value in os.environ.items() if key not in fixed}
    if policy == "sleep":
        wait_shortly(environment)
    command = [sys.executable, __file__, "--part", f"{model}:{size}:{count}:{steps}"]

    def join() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text("0")

    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, timeout=_TIMEOUT_S,
            preexec_fn=join,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return float("inf"), 0
    taken, number = done.stdout.split()[-2:]
    return float(taken), int(number)


def measure(condition: str, model: str, size: str, repeats: int, steps: int, cores: int) -> str:
    """A row of the table."""
    ways = [("1", "sleep"), *((str(n), policy) for n in range(2, cores + 1) for policy in ("spin", "sleep")), ("auto", "sleep")]
    taken: dict[tuple[str, str], list[tuple[float, int]]] = {way: [] for way in ways}
    loads = []
    try:
        with quota() if condition == CONDITIONS[2] else busy() if condition == CONDITIONS[1] else tempfile.TemporaryDirectory() as group:
            for _ in range(repeats):
                for way in ways:
                    loads.append(os.getloadavg()[0])
                    taken[way].append(seconds(model, size, way, steps, group if isinstance(group, Path) else None))
                    print(f"{condition}, {model}, {way}: {taken[way][-1]}", file=sys.stderr)
    except OSError as error:
        return f"| {model}, {size} px | {condition} | not measured: {error} |" + " |" * (len(ways) + 2)
    middle = {way: median(second for second, _ in pairs) for way, pairs in taken.items()}
    best = min(value for way, value in middle.items() if way[0] != "auto")
    auto = ways[-1]
    numbers = ", ".join(sorted({str(number) for _, number in taken[auto]}))
    cells = [f"{middle[way]:.1f}" if middle[way] < _TIMEOUT_S else f"> {_TIMEOUT_S:.0f}" for way in ways]
    load = f"{min(loads):.1f} to {max(loads):.1f}"
    return f"| {model}, {size} px | {condition} | {' | '.join(cells)} | {numbers} | {middle[auto] / best:.2f} | {load} |"


def main() -> None:
    """Measure all conditions, or train once in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--models", default="test_resnet:32,mobilenetv4_conv_small:64")
    parser.add_argument("--cores", type=int, default=min(4, len(os.sched_getaffinity(0))), help="largest fixed number of threads")
    parser.add_argument("--part")
    arguments = parser.parse_args()
    if arguments.part:
        model, size, count, steps = arguments.part.split(":")
        train(model, int(size), count, int(steps))
        return
    fixed = [f"{n}, {policy}" for n in range(2, arguments.cores + 1) for policy in ("spin", "sleep")]
    print(f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}; seconds of {2 * arguments.steps} steps of 32 images, ", end="")
    print(f"median of {arguments.repeats} in turns.\n")
    print(f"| model | machine | 1 thread | {' | '.join(fixed)} | chosen | threads | by the best | load |")
    print("| --- | --- |" + " --- |" * (len(fixed) + 5))
    for pair in arguments.models.split(","):
        model, size = pair.split(":")
        for condition in CONDITIONS:
            print(measure(condition, model, size, arguments.repeats, arguments.steps, arguments.cores), flush=True)


if __name__ == "__main__":
    main()
