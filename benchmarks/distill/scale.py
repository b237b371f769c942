"""Memory and speed of data of 10,000 to a million samples: the step data, and training on what it wrote.

The samples are tar shards of synthetic images. Each part runs in a process of its own, whose largest resident memory is read from the
system, with that of the largest worker process beside it. An epoch of the training is the same part of the samples, `--steps` batches
of 64: a whole epoch of a million samples takes hours. The first epoch makes the augmented views, and later ones read them.

Run: python benchmarks/distill/scale.py --folder /tmp/scale [--sizes 10000,100000,1000000]. It prints tables in Markdown. A part that is
done, as the results in the folder say, is not done again.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import mean
from typing import Any

SIDE, CLASSES, SHARD, BATCH, EPOCHS = 16, 10, 10_000, 64, 3
VAL = 2000
STUDENT = "test_resnet"


def write_shards(folder: Path, count: int) -> None:
    """Shards of `SHARD` images of coloured noise over a pattern of their class, of 16 pixels a side."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 192, (CLASSES, SIDE, SIDE, 3), dtype=np.uint8)
    for start in range(0, count, SHARD):
        numbers = range(start, min(start + SHARD, count))
        noise = rng.integers(0, 64, (len(numbers), SIDE, SIDE, 3), dtype=np.uint8)
        with tarfile.open(folder / f"{start // SHARD:05}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for place, number in enumerate(numbers):
                label = number % CLASSES
                pixels = b"P6 %d %d 255\n" % (SIDE, SIDE) + (patterns[label] + noise[place]).tobytes()
                for kind, content in (("ppm", pixels), ("cls", str(label).encode())):
                    info = tarfile.TarInfo(f"{number:07}.{kind}")
                    info.size = len(content)
                    tar.addfile(info, BytesIO(content))


def config(folder: Path, count: int):  # type: ignore[no-untyped-def]
    """The data part of a recipe."""
    from edgedistill.tasks.image_classification.recipe.data import Data

    split = {"val": VAL / count, "holdout": 0}
    augment = {"shift": 0.1, "rotate": 10.0, "scale": 0.1}
    source = {"webdataset": str(folder / "shards" / "*.tar")}
    fields = {"source": source, "image_size": SIDE, "split": split, "views": 1, "augment": augment, "batch_size": BATCH}
    return Data.model_validate(fields)


def peaks() -> dict[str, float]:
    """Largest resident memory of this process and of a child of it, in MiB."""
    kinds = {"peak": resource.RUSAGE_SELF, "worker": resource.RUSAGE_CHILDREN}
    return {name: resource.getrusage(who).ru_maxrss / 1024 for name, who in kinds.items()}


def prepare(folder: Path, count: int, _: int) -> dict[str, float]:
    """The step data."""
    from edgedistill.tasks.image_classification.dataset import ImageSource

    begun = time.monotonic()
    facts = ImageSource(config(folder, count)).prepare(folder / "data", 0)
    seconds = time.monotonic() - begun
    return {"seconds": seconds, "computing": computed(), "samples": sum(facts.splits.values()), **peaks()}


def computed() -> float:
    """Processor seconds of this process and its children."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def train(folder: Path, count: int, steps: int) -> dict[str, object]:
    """Three epochs of a part of the samples, the loader alone, the trainer alone, and val as runtimes take it."""
    import numpy as np
    import torch

    from edgedistill.distill.lesson import Lesson, Stage
    from edgedistill.distill.trainer import Options, fit
    from edgedistill.tasks.image_classification import imageset
    from edgedistill.tasks.image_classification.dataset import ImageDataset
    from edgedistill.tasks.image_classification.models import build_model, signature
    from edgedistill.tasks.image_classification.preprocessed import Preprocessed
    from edgedistill.tasks.image_classification.recipe.losses import ClassificationLosses
    from edgedistill.tasks.image_classification.task import IMAGE_CLASSIFICATION
    from edgedistill.tasks.loading import Loader
    from edgedistill.verify.rungs import save_samples

    @dataclass(frozen=True)
    class Part(Lesson):
        @property
        def steps(self) -> int:
            return min(steps, super().steps)

        def order(self, epoch: int) -> list[np.ndarray]:
            part = np.random.default_rng(self.seed).permutation(self.data.indices["train"])[: self.steps * self.batch_size]
            return np.array_split(np.random.default_rng([self.seed, epoch]).permutation(part), self.steps)

    data = config(folder, count)
    dataset = ImageDataset(imageset.load(folder / "data"), data.augment, 0)
    lesson = Part(IMAGE_CLASSIFICATION, signature(SIDE, CLASSES), dataset, 1, BATCH, 0)
    stage = Stage("finetune", EPOCHS, 1e-3, ClassificationLosses.model_validate({"ce": {}}))
    torch.set_num_threads(1)
    module = Preprocessed(build_model(STUDENT, CLASSES), (0.5,) * 3, (0.5,) * 3)
    checkpoint = folder / "model" / "checkpoint.safetensors"
    checkpoint.unlink(missing_ok=True)
    curve = fit(module, lesson, [stage], name="student", path=checkpoint, options=Options())
    save_samples(dataset, "val", lesson.signature, folder / "samples")
    memory = peaks()
    # The loader alone: a part that no epoch took, and the same again.
    unseen = np.random.default_rng(1).permutation(dataset.indices["train"])[: steps * BATCH]
    fresh = ImageDataset(imageset.load(folder / "data"), data.augment, 0)
    requests = [lesson.request(stage, 0, indices) for indices in np.array_split(unseen, max(1, len(unseen) // BATCH))]
    alone = []
    for _ in range(2):
        begun = time.monotonic()
        for _batch in Loader(fresh).batches(requests):
            pass
        alone.append(len(unseen) / (time.monotonic() - begun))
    # The trainer alone: one batch, in memory.
    batch, losses = lesson.batch(stage, 0, requests[0].indices), []
    optimizer = torch.optim.AdamW(module.train().parameters(), fused=True)
    begun = time.monotonic()
    for _ in range(50):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(batch.batch.inputs["image"]), batch.batch.targets["logits"])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    trainer = 50 * len(batch.batch) / (time.monotonic() - begun)
    return {**memory, "loader": alone, "trainer": trainer, "curve": curve}


def measured(folder: Path, part: str, count: int, steps: int) -> dict[str, Any]:
    """What a part gives, in a process of its own."""
    path = folder / f"{part}.json"
    if not path.exists():
        command = [sys.executable, __file__, "--part", part, "--folder", str(folder), "--sizes", str(count), "--steps", str(steps)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        path.write_text(done.stdout.splitlines()[-1])
    return json.loads(path.read_text())


def tables(rows: dict[int, tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Print what was measured."""
    smallest = rows[min(rows)]
    print(f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}; ", end="")
    print(f"images of {SIDE} px, student {STUDENT}, one thread.\n")
    print("| samples | step data, s | computing, s | samples/s | peak, MiB | by the smallest | largest worker, MiB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count, (data, _) in rows.items():
        numbers = f"{data['seconds']:.0f} | {data['computing']:.0f} | {count / data['seconds']:.0f} | {data['peak']:.0f}"
        print(f"| {count:,} | {numbers} | {data['peak'] / smallest[0]['peak']:.2f} | {data['worker']:.0f} |")
    print("\n| samples | training, peak, MiB | by the smallest | largest worker, MiB | epoch | samples/s | trainer busy | workers |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for count, (_, training) in rows.items():
        for name, records in (("first", training["curve"][:1]), ("later", training["curve"][1:])):
            rate, busy = (mean(record[key] for record in records) for key in ("samples_per_s", "busy"))
            memory = f"{training['peak']:.0f} | {training['peak'] / smallest[1]['peak']:.2f} | {training['worker']:.0f}"
            print(f"| {count:,} | {memory} | {name} | {rate:.0f} | {busy:.1%} | {max(record['loaders'] for record in records)} |")
    print("\n| samples | loader alone, first, samples/s | later | trainer alone, samples/s |")
    print("| --- | --- | --- | --- |")
    for count, (_, training) in rows.items():
        print(f"| {count:,} | {training['loader'][0]:.0f} | {training['loader'][1]:.0f} | {training['trainer']:.0f} |")


def main() -> None:
    """Measure all sizes, or one part of one in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--part", choices=("prepare", "train"))
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    if arguments.part:
        work = prepare if arguments.part == "prepare" else train
        print(json.dumps(work(arguments.folder, sizes[0], arguments.steps)))
        return
    rows = {}
    for size in sizes:
        folder = arguments.folder / str(size)
        if not (folder / "written").exists():
            write_shards(folder / "shards", size)
            (folder / "written").touch()
        rows[size] = (measured(folder, "prepare", size, arguments.steps), measured(folder, "train", size, arguments.steps))
    tables(rows)


if __name__ == "__main__":
    main()
