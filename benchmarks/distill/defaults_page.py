"""The page of `defaults.py`, from the results that there are."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from images import SETS
from losses import half_width
from settings import EPOCHS, SETTINGS, SHORT

Found = Mapping[tuple[str, int], dict[str, Any]]
"""Results of a setting by task and seed."""
Results = Callable[[str], Found]
"""The results of a setting that there are."""
LOOPS = [name for name in SETTINGS if name.startswith("plain")]


def print_page(of: Results, about: str) -> None:
    """Print the page."""
    print(f"# Defaults\n\nWritten by `python benchmarks/distill/defaults.py`, which says what is compared.\n\n{about}")
    _settings(of)
    _beside_the_loop(of)
    _shorter(of)
    _int8(of)


def _settings(of: Results) -> None:
    tasks = [task for task in SETS if any(task == name for how in SETTINGS for name, _ in of(how))]
    print("\n## What the settings do\n")
    print("Accuracy on the images to tune by, of seed 0. The 95% interval of one figure is up to 2.5 points (5.7 on the digits), and")
    print("another seed moves it by as much; differences below twice that are not certain. Empty cells were not trained.\n")
    print(f"| setting | {' | '.join(tasks)} |\n| --- |" + " --- |" * len(tasks))
    for how, described in SETTINGS.items():
        if found := of(how):
            cells = [f"{found[task, 0]['tune']:.1%}" if (task, 0) in found else "" for task in tasks]
            print(f"| {described} | {' | '.join(cells)} |")


_COLUMNS = "plain loop | task | seeds | plain loop | kit | difference, points | seconds, plain loop | seconds, kit"


def _beside_the_loop(of: Results) -> None:
    print("\n## The kit beside the plain loop, at equal epochs\n")
    _against_loops(of("default"), of)


def _shorter(of: Results) -> None:
    if of("short"):
        print(f"\n## Time at equal accuracy\n\nThe kit in {SHORT} epochs beside the plain loop in {EPOCHS}.\n")
        _against_loops(of("short"), of)


def _against_loops(kit: Found, of: Results) -> None:
    """Rows of a setting of the kit beside each plain loop: each task, and all of them."""
    print("Accuracy on the holdout, mean over the seeds that both have. The 95% interval is that of the mean over seeds, paired by")
    print("seed; in the last row of a loop over tasks and seeds.\n")
    print(f"| {_COLUMNS} |\n|{' --- |' * (_COLUMNS.count('|') + 1)}")
    for how in LOOPS:
        loop, name = of(how), SETTINGS[how].removeprefix("plain loop ")
        for task in [*SETS, "all"]:
            if both := [key for key in kit if key in loop and task in (key[0], "all")]:
                _row([name, task, str(len(both))], [loop[key] for key in both], [kit[key] for key in both])


def _row(first: list[str], loop: list[dict[str, Any]], kit: list[dict[str, Any]]) -> None:
    theirs, ours = (100 * np.array([result["holdout"] for result in results]) for results in (loop, kit))
    half = f" ± {half_width(ours - theirs):.1f}" if len(loop) > 1 else ""
    cells = [*first, f"{theirs.mean():.1f}%", f"{ours.mean():.1f}%", f"{(ours - theirs).mean():+.1f}{half}"]
    cells += [f"{np.mean([result['seconds'] for result in results]):.0f}" for results in (loop, kit)]
    print(f"| {' | '.join(cells)} |")


def _int8(of: Results) -> None:
    trained = {key: result for key, result in of("default").items() if "int8" in result}
    print("\n## int8 after quantization-aware training\n\nAccuracy on the holdout: three more epochs in int8, and the converted program.\n")
    if not trained:
        print("Not measured.")
        return
    print("| task | seed | fp32 student | int8 | difference, points |\n| --- | --- | --- | --- | --- |")
    for (task, seed), result in trained.items():
        floats, ints = result["holdout"], result["int8"]["holdout"]
        print(f"| {task} | {seed} | {floats:.1%} | {ints:.1%} | {100 * (ints - floats):+.1f} |")
