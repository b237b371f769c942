"""The page of int8.py."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgedistill.tasks.intervals import paired_difference

HEAD = """# Int8 of students that are hard to quantize

Written by `python benchmarks/distill/int8.py`, which says what is compared.

The students have what int8 is known to lose accuracy on: Hardswish and squeeze-excite (MobileNetV3), SiLU
(EfficientNet), layer norm and GELU (ConvNeXt), attention (MobileViT). With plain tools, training in int8 left
MobileNetV3-Large at 62% where quantization after training had 73.5%
([pytorch#114859](https://github.com/pytorch/pytorch/issues/114859)).

The tasks are drawn: 60 signs on clutter, 64 x 64 pixels, 6,000 images to learn from, with the teacher resnet10t; for
ConvNeXt, which learned none of these from random weights in 14 epochs, 60 icons, 2,400 images and test_resnet.
Pretrained weights cannot be had here, so each student learns from random weights, and what outliers a long training on
ImageNet leaves in them is not measured. Calibration sees 512 images; training in int8 has three epochs at lr 1e-4.
Accuracy is on {images} images that no training sees.{missing}

## Accuracy

Points beside floating point, with the 95% interval of the difference on the same images. Empty cells were not measured.

{accuracy}

- `fp32`: the student in floating point.
- `static`: ranges from calibration (`int8-static`).
- `equalized`: channels are scaled before, so that they use a tensor's range alike (`int8-equalized`).
- `corrected`: and biases take the mean error of their layer (`int8-corrected`).
- `rounded`: and the rounding of weights is fitted to what the layer reads (`int8-rounded`).
- `tuned`: all parameters learn to give the outputs of the student in floating point, without labels (`int8-tuned`).
- `qat`: trained in int8 with observed ranges, the default (`int8`).
- `qat-learned`: ranges are trained too (`ranges: learned`).

## Predictions that change

Share of the images for which the student in int8 says another class than in floating point.
It moves before accuracy does.

{flips}

## Time

Seconds of processor time of one thread on a shared machine: training in floating point, and each way.

{seconds}
"""


def print_page(folder: Path, students: Sequence[str], ways: Sequence[str]) -> None:
    """Print the page of the results in `folder`; what is missing stays empty."""
    right = {(s, w): np.load(path) for s in students for w in ways if (path := folder / s / f"{w}.npy").exists()}
    seconds = {key: json.loads((folder / key[0] / f"{key[1]}.json").read_text())["seconds"] for key in right}
    measured = [s for s in students if (s, "fp32") in right]
    images = " or ".join(f"{count:,}" for count in sorted({found.shape[1] for found in right.values()}))
    missing = ", ".join(s for s in students if s not in measured)

    def accuracy(student: str, way: str) -> str:
        found, exact = right[student, way][0], right[student, "fp32"][0]
        if way == "fp32":
            return f"{found.mean():.1%}"
        difference, low, high = paired_difference(found.astype(bool), exact.astype(bool))
        return f"{100 * difference:+.1f} ± {50 * (high - low):.1f}"

    def flips(student: str, way: str) -> str:
        return "" if way == "fp32" else f"{(right[student, way][1] != right[student, 'fp32'][1]).mean():.1%}"

    def table(cell: object) -> str:
        rows = [["student", *ways], ["---"] * (len(ways) + 1)]
        rows += [[s, *(cell(s, w) if (s, w) in right else "" for w in ways)] for s in measured]  # type: ignore[operator]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    print(
        HEAD.format(
            images=images,
            missing=f" Not measured yet: {missing}." if missing else "",
            accuracy=table(accuracy),
            flips=table(flips),
            seconds=table(lambda *key: f"{seconds[key]:.0f}"),
        ),
        end="",
    )
