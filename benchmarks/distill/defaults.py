"""What the settings of a recipe do on five tasks, and the kit beside a plain loop: `python benchmarks/distill/defaults.py > PAGE`.

PAGE is docs/benchmarks-defaults.md. `images.py` makes the images, `suite.py` trains, `settings.py` has what is compared, `plain_loop.py`
the plain loop. Each result is a line of results.jsonl in the folder --out, so that an interrupted benchmark goes on; a setting whose
fields changed is trained again. With --show nothing is trained, and the page has what there is. Everything computes on one thread.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import settings
import torch
from defaults_page import print_page
from images import SETS
from suite import TEACHER, Task, kit, plain

from edgedistill.files import canonical_hash

Result = dict[str, Any]
ABOUT = f"""Teacher {TEACHER}, trained once on each task; {settings.EPOCHS} epochs in batches of 32. The student is
{settings.STUDENT["model"]} with ReLU6 where nothing else is said. The five tasks have 2,000 training images of 32 pixels
(icons 2,400, digits 800): MNIST (mnist10k), the scans of scikit-learn (digits), 60 drawn icons, 12 textures, and
8 small shapes on clutter (objects). Settings are chosen by images that no run sees. Seconds are processor time of one
thread on a shared machine, with the teacher's answers, the views, and val after each epoch."""
REPEATED = ("default", "short", "plain-0.008", "plain-aug-0.008")


class Results:
    """The results of trainings; each is a line of a file as soon as it is there."""

    def __init__(self, folder: Path, *, train: bool) -> None:
        self.folder, self.train, self.path = folder, train, folder / "results.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.known: dict[str, Result] = {line["key"]: line for line in map(json.loads, lines)}

    def of(self, task: str, how: str, seed: int) -> Result | None:
        """The result of one training; None where it is missing and nothing is to be trained."""
        about = settings.PLAIN.get(how) or settings.KIT[how]
        quantized = how in settings.QUANTIZED
        key = canonical_hash([task, about, seed, quantized])[:16]
        if key not in self.known and self.train:
            images = Task(task, self.folder)
            found = plain(images, about, seed) if how in settings.PLAIN else kit(images, about, seed, quantized=quantized)
            self.known[key] = {"key": key, "task": task, "how": how, "seed": seed, **found}
            with self.path.open("a") as file:
                file.write(json.dumps(self.known[key]) + "\n")
            print(f"{task}, {how}, seed {seed}: tune {found['tune']:.1%}, {found['seconds']:.0f} s", file=sys.stderr, flush=True)
        return self.known.get(key)

    def all(self, how: str, seeds: int) -> dict[tuple[str, int], Result]:
        """The results of a setting that there are, by task and seed."""
        every = {(task, seed): self.of(task, how, seed) for seed, task in product(range(seeds), SETS)}
        return {key: found for key, found in every.items() if found is not None}


def main() -> None:
    """Train what is missing, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-defaults"), help="folder of images, teachers and results")
    parser.add_argument("--show", action="store_true", help="train nothing")
    parser.add_argument("--seeds", type=int, default=4, help=f"of {', '.join(REPEATED)}; other settings have one")
    parser.add_argument("--jobs", nargs="*", help="only these, as TASK/SETTING/SEED, and no page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(arguments.out, train=not arguments.show)
    if arguments.jobs is not None:
        for job in arguments.jobs:
            task, how, seed = job.split("/")
            results.of(task, how, int(seed))
        return
    found = {how: results.all(how, arguments.seeds if how in REPEATED else 1) for how in [*settings.KIT, *settings.PLAIN]}
    print_page(lambda how: found.get(how, {}), ABOUT)


if __name__ == "__main__":
    main()
