"""Does a GPU learn what the CPU learns, and how fast: `python benchmarks/gpu/check.py`; benchmarks/gpu/check.sh says what it needs.

Distils handwritten digits with the same seed on the CPU in fp32 and on the GPU in fp32 and bf16, each in a process of its own. The
accuracy on val of the student and of its quantized state must lie within 2 points of the CPU's. Then it trains a ResNet-18 on images in
memory, by the trainer (on labels, and taught) and by a bare loop of PyTorch. The last line on stdout is one JSON document; the exit status
is 3 where the GPU learns less.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
WAYS = {"cpu-fp32": "fp32", "gpu-fp32": "fp32", "gpu-bf16": "bf16"}
"""The precision of each way to train; its name begins with its device."""
TOLERANCE = 0.02
"""How much lower than the CPU's an accuracy on val may be: 359 images are scored, and one is 0.003."""
IMAGES, SIZE, BATCH, EPOCHS = 16_384, 64, 256, 3
KD = {"kd": {"standardize": True, "temperature": 2.0, "weight": 9.0}}
LEARNS = {
    "name": "learns",
    "data": {"source": "sklearn-digits", "image_size": 32, "batch_size": 32, "views": 2},
    "teacher": {"model": "resnet10t", "train": {"epochs": 4, "lr": 2e-3, "weight_decay": 0.05, "warmup": 0.2}},
    "student": {"model": "mobilenetv4_conv_small"},
    "distill": {
        "control": False,
        "weight_decay": 0.05,
        "stages": [
            {"name": "align", "epochs": 5, "lr": 3e-3, "losses": KD},
            {"name": "finetune", "epochs": 3, "lr": 1.5e-3, "losses": {"ce": {"weight": 0.5}, **KD}},
            {"name": "qat", "epochs": 2, "lr": 2e-4, "losses": {"ce": {"weight": 0.5}, **KD}},
        ],
    },
}


def fast(images: Path) -> dict[str, Any]:
    """The recipe of the speed: teacher and student are the same model, so that both compare with one bare loop."""
    return {
        "name": "fast",
        "data": {
            "source": {"npz": str(images)},
            "image_size": SIZE,
            "batch_size": BATCH,
            "views": 1,
            "augment": {},
            "split": {"val": 256 / IMAGES, "holdout": 0},
        },
        "teacher": {"model": "resnet18", "train": {"epochs": EPOCHS, "lr": 1e-3}},
        "student": {"model": "resnet18"},
        "distill": {
            "control": False,
            "stages": [{"name": "align", "epochs": EPOCHS, "lr": 1e-3, "losses": {"kd": {}}}, {"name": "qat", "epochs": 1, "lr": 1e-5}],
        },
    }


def distil(recipe: dict[str, Any], precision: str, runs: Path) -> dict[str, Any]:
    """The curves of the steps of `recipe` on this process's device, what failed, and seconds."""
    from edgedistill import load_recipe
    from edgedistill.runs import open_run
    from edgedistill.steps.distill import train

    loaded = load_recipe(recipe, [f"distill.precision={precision}"])
    started, failed = time.perf_counter(), None
    with open_run(runs / loaded.recipe.name) as run:
        try:
            train(run, loaded, runs)
        except Exception as error:
            # What was trained before it counts.
            failed = f"{type(error).__name__}: {error}"[:300]
        steps = {name: run.result(name) for name in ("teacher", "student", "qat")}
    curves = {name: result["curve"] for name, result in steps.items() if result is not None}
    return {"curves": curves, "failed": failed, "seconds": time.perf_counter() - started}


def bare(images: Path, precision: str) -> dict[str, Any]:
    """Samples a second of a plain loop: the same model, batch, optimizer and precision; the best epoch."""
    import timm
    import torch

    arrays = np.load(images)
    pixels, labels = torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"])
    device = torch.device("cuda")
    model = timm.create_model("resnet18", num_classes=10).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    rates = []
    for _ in range(EPOCHS):
        order, started = torch.randperm(len(labels)), time.perf_counter()
        for first in range(0, len(labels) - BATCH + 1, BATCH):
            chosen = order[first : first + BATCH]
            x = pixels[chosen].to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = torch.nn.functional.cross_entropy(model(x), labels[chosen].to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        loss.item()
        rates.append(len(labels) // BATCH * BATCH / (time.perf_counter() - started))
    return {"samples_per_second": max(rates)}


def write_images(path: Path) -> None:
    """Noise of 10 classes, each a little brighter than the one before."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, IMAGES)
    images = generator.integers(0, 200, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8) + (5 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(path, images=images, labels=labels)


def child(what: str, way: str, folder: Path) -> dict[str, Any]:
    """One measurement in a new process, which alone knows its device."""
    command = [sys.executable, __file__, "--child", what, way, str(folder)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    if way.startswith("cpu"):
        environment |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {"failed": f"{what} {way} ended with exit status {done.returncode}"}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def rate(result: dict[str, Any], step: str) -> float | None:
    """Samples a second of the best epoch of a step, scoring on val included; 256 of the images are val."""
    seconds = [epoch["seconds"] for epoch in result.get("curves", {}).get(step, []) if epoch["stage"] != "qat"]
    return (IMAGES - 256) / min(seconds) if seconds else None


def last(result: dict[str, Any], step: str) -> float | None:
    """The accuracy on val at the end of a step."""
    curve = result.get("curves", {}).get(step)
    return curve[-1]["val_accuracy"] if curve else None


def main() -> int:
    """Measure, and print the tables and the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="the first is what the others are held to")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        what, way, folder = asked.child[0], asked.child[1], Path(asked.child[2])
        images, precision = folder / "images.npz", WAYS[way]
        if what == "bare":
            result = bare(images, precision)
        else:
            result = distil(LEARNS if what == "learns" else fast(images), precision, folder / way)
        print(json.dumps(result))
        return 0

    import torch

    if not torch.cuda.is_available():
        print("error: torch finds no GPU; run this on a machine with an NVIDIA GPU and its driver", file=sys.stderr)
        return 2
    document: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
    }
    with tempfile.TemporaryDirectory(prefix="edgedistill-gpu-") as name:
        folder = Path(name)
        write_images(folder / "images.npz")
        learned = {way: child("learns", way, folder) for way in asked.ways}
        speed = {way: {"bare": child("bare", way, folder), "fast": child("fast", way, folder)} for way in asked.ways if "gpu" in way}
    print("\n| | teacher | student | quantized | seconds | failed |\n|---|---:|---:|---:|---:|---|")
    for way, result in learned.items():
        scores = {step: last(result, step) for step in ("teacher", "student", "qat")}
        document[way] = scores | {"seconds": result.get("seconds"), "failed": result.get("failed")}
        cells = ["-" if value is None else f"{value:.4f}" for value in scores.values()]
        print(f"| {way} | {' | '.join(cells)} | {result.get('seconds', 0):.0f} | {result.get('failed') or ''} |")
    print(f"\nSamples a second of a ResNet-18 on {SIZE} pixels at batch {BATCH}:")
    print("\n| | bare loop | trainer, labels | trainer, taught |\n|---|---:|---:|---:|")
    for way, found in speed.items():
        rates = [found["bare"].get("samples_per_second"), rate(found["fast"], "teacher"), rate(found["fast"], "student")]
        document[way] |= {"samples_per_second": dict(zip(("bare", "labels", "taught"), rates, strict=True))}
        document[way] |= {"speed_failed": found["bare"].get("failed") or found["fast"].get("failed")}
        print(f"| {way} | {' | '.join('-' if value is None else f'{value:.0f}' for value in rates)} |")
    first, *others = (document[way] for way in asked.ways)
    good = all(
        other[step] is not None and first[step] is not None and other[step] >= first[step] - TOLERANCE
        for other in others
        for step in ("student", "qat")
    )
    print(json.dumps(document | {"ok": good}))
    return 0 if good else 3


if __name__ == "__main__":
    sys.exit(main())
