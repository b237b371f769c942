"""Broken recipes and damaged files: none may end in a traceback, take more than 2 s of processor time, or 500 MB of memory.

    python benchmarks/faults/fuzz.py --run runs/quickstart [--recipes 2000] [--files 2000] [--runtimes 40] [--seed 0]

Two processes read the inputs one after the other, recipes and files, and a watch-dog ends one that does not answer within 30 s. `--run` is
the folder of a finished run, whose artifacts and manifests are damaged; without it there are no model files. Some of these are given to
their runtimes too, whose child processes may crash. Each input is a function of its seed, and what failed can be read alone: `--only
recipes:17`.
"""

import argparse
import contextlib
import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SECONDS, MEGABYTES = 2.0, 500.0
_HANGS_S, _STARTS_S = 30.0, 300.0
_KINDS = ("recipes", "files", "runtimes")


@dataclass
class Outcome:
    """What came of all inputs of one kind."""

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    wall_s: float = 0.0


def main() -> int:
    """Read all inputs, print what came of them, and return 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=int, default=2000)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--runtimes", type=int, default=40, help="damaged model files that their runtimes are given")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--run", type=Path, help="folder of a finished run")
    parser.add_argument("--only", metavar="KIND:SEED", help="read one input in this process")
    parser.add_argument("--worker", choices=_KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return _work(options.worker, options.run)
    if options.only:
        kind, _, seed = options.only.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            print(_reader(kind, options.run, Path(folder))(int(seed)))
        return 0
    failed = False
    for kind in _KINDS:
        count = getattr(options, kind) if options.run or kind != "runtimes" else 0
        outcome = fuzz(kind, range(options.seed, options.seed + count), options.run)
        print(f"{count:,} {kind} in {outcome.wall_s:.0f} s: {', '.join(f'{n} {what}' for what, n in sorted(outcome.counts.items()))}")
        slowest = f"slowest {outcome.slowest_s:.2f} s of processor time"
        print(f"  {slowest}, memory grew by {outcome.peak_mb:.0f} MB at most, {len(outcome.failed)} failed")
        print("".join(f"  {text}\n" for text in outcome.failed[:50]), end="")
        failed |= bool(outcome.failed)
    return int(failed)


def fuzz(kind: str, seeds: range, run: Path | None) -> Outcome:
    """Read the inputs of `seeds` in a process that is started again whenever one ends it."""
    outcome, waiting, began = Outcome(), list(seeds), time.monotonic()
    while waiting:
        command = [sys.executable, __file__, "--worker", kind, *(["--run", str(run.resolve())] if run else [])]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        try:
            # Importing libraries and making intact files takes its time.
            if _answer(worker, _STARTS_S) is None:
                raise RuntimeError(f"the process that reads {kind} did not start (exit status {worker.poll()})")
            while waiting:
                answer = _ask(worker, waiting[0])
                seed = waiting.pop(0)
                if answer is None:
                    outcome.failed.append(f"{kind}:{seed} hung or crashed (exit status {worker.poll()})")
                    outcome.counts["hung or crashed"] += 1
                    break
                _count(outcome, f"{kind}:{seed}", answer)
        finally:
            worker.kill()
            worker.wait()
    outcome.wall_s = time.monotonic() - began
    return outcome


def _ask(worker: subprocess.Popen[bytes], seed: int) -> dict[str, object] | None:
    """What the worker says of an input; None where it ended, or said nothing for too long."""
    assert worker.stdin is not None
    try:
        worker.stdin.write(f"{seed}\n".encode())
        worker.stdin.flush()
    except BrokenPipeError:
        return None
    return _answer(worker, _HANGS_S)


def _answer(worker: subprocess.Popen[bytes], timeout_s: float) -> dict[str, object] | None:
    assert worker.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        if not selector.select(timeout_s):
            return None
    line = worker.stdout.readline()
    return dict(json.loads(line)) if line else None


def _count(outcome: Outcome, name: str, answer: dict[str, object]) -> None:
    what, seconds, megabytes = str(answer["what"]), float(str(answer["seconds"])), float(str(answer["megabytes"]))
    outcome.counts[what] += 1
    outcome.slowest_s, outcome.peak_mb = max(outcome.slowest_s, seconds), max(outcome.peak_mb, megabytes)
    if what == "traceback" or seconds > SECONDS or megabytes > MEGABYTES:
        outcome.failed.append(f"{name} {what}: {seconds:.2f} s, {megabytes:.0f} MB: {answer['said']}")


def _work(kind: str, run: Path | None) -> int:
    """Read the inputs whose seeds come through stdin, and answer each with one line."""
    answers = os.fdopen(os.dup(1), "w")
    # Whatever a library prints must not stand among the answers.
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.chdir(folder)
        read = _reader(kind, run, Path(folder))
        print("{}", file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(read(int(line))), file=answers, flush=True)
    return 0


def _reader(kind: str, run: Path | None, folder: Path):  # type: ignore[no-untyped-def]
    """A function that reads the input of a seed, and says what came of it."""
    sys.path.insert(0, str(Path(__file__).parent))
    import files

    import recipes
    from edgedistill.errors import EdgeDistillError
    from edgedistill.recipe.loading import find_recipe, list_recipes, load_recipe

    if kind == "recipes":
        known = [find_recipe(info.name)[0].read_text() for info in list_recipes()]
    else:
        intact = files.whole(folder / "whole", run)
        for name, paths in intact.items():
            _quietly(lambda name=name, path=paths[0]: files.read(name, path, folder))

    def one(seed: int) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            if kind == "runtimes":
                assert run is not None, "only models of a run are given to runtimes"
                files.execute(seed, intact, Path(place), run)
            elif kind == "recipes":
                path = Path(place, "recipe.yaml")
                path.write_bytes(recipes.broken(seed, known))
                load_recipe(path, recipes.overrides(seed))
            else:
                files.read(*files.damaged(seed, intact, Path(place)), Path(place))

    def read(seed: int) -> dict[str, object]:
        what, said = "accepted", ""
        _forget_peak()
        # What a runtime takes in its process is limited by the time that it may run.
        clocks = 2 if kind == "runtimes" else 4
        before, resident = sum(os.times()[:clocks]), _peak_mb()
        try:
            one(seed)
        except EdgeDistillError as error:
            what, said = "refused", str(error)[:200]
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            what, said = "traceback", f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}:{where.lineno})"
        return {"what": what, "said": said, "seconds": sum(os.times()[:clocks]) - before, "megabytes": _peak_mb() - resident}

    return read


def _quietly(work) -> None:  # type: ignore[no-untyped-def]
    """Do what only imports libraries, so that no input is charged with it."""
    try:
        work()
    except Exception as error:
        print(f"an intact file: {type(error).__name__}: {error}", file=sys.stderr)


def _forget_peak() -> None:
    # Where that is not allowed, the peak is that of all inputs before.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
