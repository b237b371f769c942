"""The page of `defaults.py`, from the results that there are."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
from images import SETS
from losses import half_width

Found = Mapping[tuple[str, int], dict[str, Any]]
"""Results of a setting by task and seed."""
Results = Callable[[str], Found]
"""The results of a setting that there are."""
SETTINGS = {
    "old": "the former default: kd alone, then ce + kd, a cosine for each stage, lr 2e-3 and 1e-3",
    "joint": "the same stages on one schedule, lr 2e-3",
    "one-stage": "one stage of ce + kd, lr 2e-3",
    "one-lr4": "one stage of ce + kd, lr 4e-3",
    "one-lr8": "one stage of ce + kd, lr 8e-3",
    "lr8-none": "the same without augmentation, the default",
    "lr8-views8": "with 8 views instead of 4: a new one in each epoch",
    "lr8-ema": "with an exponential mean of the weights, 0.99",
    "lr8-standard": "with standardised kd, temperature 2, weight 9",
    "lr8-align": "kd alone in the first half",
    "mn-lr2": "MobileNetV4 (conv_small_035), lr 2e-3",
    "mn-lr4": "MobileNetV4 (conv_small_035), lr 4e-3",
    "mn-lr8": "MobileNetV4 (conv_small_035), lr 8e-3",
    "plain-aug-0.002": "plain loop with random crops, lr 2e-3",
    "plain-aug-0.008": "plain loop with random crops, lr 8e-3",
    "plain-0.008": "plain loop without crops, lr 8e-3",
}
KIT = ("default",)
"""Settings of the kit that are held against the plain loop."""
SHORT, LOOPS = "short", [name for name in SETTINGS if name.startswith("plain")]


def print_page(of: Results, about: str) -> None:
    """Print the page."""
    print(f"# Defaults\n\nWritten by `python benchmarks/distill/defaults.py`, which says what is compared.\n\n{about}")
    _settings(of)
    _beside_the_loop(of)
    _shorter(of)
    _int8(of)


def _holdout(task: str) -> int:
    return SETS[task][1]["holdout"]


def _mean(found: Found, task: str, key: str) -> float:
    return float(np.mean([result[key] for (name, _), result in found.items() if name == task]))


def _settings(of: Results) -> None:
    tasks = [task for task in SETS if any(task == name for how in SETTINGS for name, _ in of(how))]
    print("\n## What the settings do\n")
    print("Accuracy on the images to tune by, of seed 0. The 95% interval of one figure is up to 2.5 points (5.7 on the digits);")
    print("differences of two settings on one task are not certain below twice that. Empty cells were not trained.\n")
    print(f"| setting | {' | '.join(tasks)} |\n| --- |" + " --- |" * len(tasks))
    for how, described in SETTINGS.items():
        if found := of(how):
            cells = [f"{found[task, 0]['tune']:.1%}" if (task, 0) in found else "" for task in tasks]
            print(f"| {described} | {' | '.join(cells)} |")


def _beside_the_loop(of: Results) -> None:
    print("\n## The kit beside the plain loop, at equal epochs\n\nAccuracy on the holdout, mean over the seeds that both have.")
    print("The kit is the default: one stage, lr 8e-3, no augmentation.")
    print("The interval of a task is over images, as if the two students were independent; that of all is over tasks and seeds.\n")
    print("| plain loop | task | seeds | plain loop | kit | difference, points | seconds, plain loop | seconds, kit |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for how, ours in product(LOOPS, KIT):
        kit, loop = of(ours), of(how)
        rates = SETTINGS[how].removeprefix("plain loop ")
        every = [key for key in kit if key in loop]
        for task in SETS:
            if both := [key for key in every if key[0] == task]:
                _row([rates, task, str(len(both))], {k: loop[k] for k in both}, {k: kit[k] for k in both}, task)
        if len(every) > 1:
            differences = np.array([100 * (kit[key]["holdout"] - loop[key]["holdout"]) for key in every])
            taken = [sum(found[key]["seconds"] for key in every) for found in (loop, kit)]
            difference = f"{differences.mean():+.1f} ± {half_width(differences):.1f}"
            cells = [rates, "all", str(len(every)), "", "", difference, *(f"{seconds:.0f}" for seconds in taken)]
            print(f"| {' | '.join(cells)} |")


def _row(first: list[str], loop: Found, kit: Found, task: str) -> None:
    theirs, ours = (_mean(found, task, "holdout") for found in (loop, kit))
    half = 196 * sum(p * (1 - p) / (len(kit) * _holdout(task)) for p in (theirs, ours)) ** 0.5
    cells = [*first, f"{theirs:.1%}", f"{ours:.1%}", f"{100 * (ours - theirs):+.1f} ± {half:.1f}"]
    cells += [f"{_mean(found, task, 'seconds'):.0f}" for found in (loop, kit)]
    print(f"| {' | '.join(cells)} |")


def _shorter(of: Results) -> None:
    short = of(SHORT)
    if not short:
        return
    print("\n## Time at equal accuracy\n\nThe kit in 5 epochs beside the plain loop in 8, on the holdout.\n")
    print("| plain loop | task | seeds | plain loop | kit | difference, points | seconds, plain loop | seconds, kit |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for how in LOOPS:
        for task in SETS:
            if both := [key for key in short if key[0] == task and key in of(how)]:
                loop, kit = ({key: found[key] for key in both} for found in (of(how), short))
                _row([SETTINGS[how].removeprefix("plain loop "), task, str(len(both))], loop, kit, task)


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
