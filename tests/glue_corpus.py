"""Frames that glue code of every language has to prepare as training does, with the pixels that it has to give."""

from pathlib import Path

import numpy as np

from edgedistill.tasks.image_classification.frames import GoldenFrame, made
from edgedistill.tasks.image_classification.recipe.data import PLAIN, Resize

KINDS = ("rgb8", "bgr8", "rgba8", "bgra8", "grey8", "grey16", "yuv420")
COLORS = (("bt601", "full"), ("bt601", "video"), ("bt709", "full"), ("bt709", "video"))
SIZES = (16, 32, 64, 96)
SPECIAL = ((1, 1), (1, 2), (2, 1), (1, 50), (50, 1), (3, 150), (32, 32), (64, 32), (33, 31), (640, 480), (1080, 1920))
LARGEST = (4000, 3000)
COLUMNS = (
    "number", "format", "width", "height", "orientation", "matrix", "range", "planes", "size", "file", "expected", "side", "stretch",
    "filter", "odd_margin",
)  # fmt: skip


def resize(number: int, size: int) -> Resize:
    """The way to a square of `size` pixels that a frame takes: each in turn."""
    ways = (
        PLAIN,
        Resize(side=size + 13, filter="cubic", odd_margin="down"),
        Resize(stretch=True, filter="cubic"),
        Resize(side=size + 31),
        Resize(side=size + 7, stretch=True, odd_margin="down"),
    )
    return ways[number % len(ways)]


def frames(count: int, largest: int = 2) -> list[tuple[GoldenFrame, int, Resize]]:
    """`count` frames, each with the size that a model sees, and the way to it.

    The special sizes are first, the `largest` last, and random ones between.
    """
    rng = np.random.default_rng(17)
    sides = [*SPECIAL[:count]]
    while len(sides) < count - largest:
        width, height = (int(side) for side in np.exp(rng.uniform(0, np.log(400), 2)))
        if max(width, height) <= 50 * min(width, height):
            sides.append((width, height))
    sides += [LARGEST] * (count - len(sides))
    made_frames = []
    for number, (width, height) in enumerate(sides):
        kind, size = KINDS[number % len(KINDS)], 224 if (width, height) == LARGEST else SIZES[number % len(SIZES)]
        orientation, colors = 1 + number // len(KINDS) % 8, COLORS[number // (8 * len(KINDS)) % len(COLORS)]
        way = resize(number, size)
        made_frames.append((made(kind, width, height, orientation, size, rng, *colors, resize=way), size, way))
    return made_frames


def write_corpus(folder: Path, count: int, largest: int = 2) -> Path:
    """Write `count` frames into `folder`: index.tsv, with the columns COLUMNS, and the files that it names."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(COLUMNS)]
    for number, (frame, size, way) in enumerate(frames(count, largest)):
        facts = frame.facts
        planes = ";".join(f"{plane['offset']}:{plane['row_stride']}:{plane['pixel_stride']}" for plane in facts["planes"])
        file, expected = f"{number}.bin", f"{number}-expected.bin"
        (folder / file).write_bytes(frame.data)
        (folder / expected).write_bytes(frame.expected.tobytes())
        names = ("format", "width", "height", "orientation", "matrix", "range")
        cells = (way.side or size, int(way.stretch), way.filter, way.odd_margin)
        lines.append("\t".join(map(str, (number, *(facts[name] for name in names), planes, size, file, expected, *cells))))
    (folder / "index.tsv").write_text("\n".join(lines) + "\n")
    return folder
