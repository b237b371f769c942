"""How many planted duplicates are found, and how many other samples are taken for one: real texts, made tool calls, images.

    OMP_NUM_THREADS=1 python benchmarks/teach/leakage.py [texts|curve|images|scale]

Each kind of change is made to samples of the kept set, with a fixed seed; the table has the share that is found. A false alarm in texts of
tool calls is a row whose call is another than that of the row it is taken for; in images, any pair. Of the Debian descriptions nobody says
which are duplicates: the share that is found is printed, with pairs to judge.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance
from sklearn.datasets import load_digits, load_sample_images

from edgedistill.tasks.causal_lm.example import ExampleTable
from edgedistill.teach.leakage.found import KINDS, Found
from edgedistill.teach.leakage.images import ImageIndex
from edgedistill.teach.leakage.texts import RESEMBLANCE, TextIndex, normal

DATA = Path(__file__).parents[1] / "data" / "debian_sections.jsonl.gz"
PLANTED, AT_ONCE, SHOWN = 500, 4096, 40
LETTERS = "abcdefghijklmnopqrstuvwxyz"
DRAW, NOISE = random.Random(0), np.random.default_rng(0)
Pixels = np.ndarray


def parts(values: Sequence[Any], size: int = AT_ONCE) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


# Texts.


def slip(text: str) -> str:
    """A letter of a word of at least 4 is another, left out, or one more; in a number it would be another sample."""
    words = text.split()
    places = [place for place, word in enumerate(words) if word.isalpha() and len(word) >= 4]
    if not places:
        return text + "!"
    place = DRAW.choice(places)
    word, at = words[place], DRAW.randrange(len(words[place]))
    words[place] = DRAW.choice((word[:at] + word[at + 1 :], word[:at] + DRAW.choice(LETTERS) + word[at + DRAW.randrange(2) :]))
    return " ".join(words)


def dropped(text: str) -> str:
    words = text.split()
    if len(words) < 4:
        return slip(text)
    del words[DRAW.randrange(len(words))]
    return " ".join(words)


def added(text: str) -> str:
    words = text.split()
    words.insert(DRAW.randrange(len(words) + 1), DRAW.choice(("please", "the", "very", "really", "for")))
    return " ".join(words)


def swapped(text: str) -> str:
    words = text.split()
    if len(words) < 3:
        return slip(text)
    place = DRAW.randrange(len(words) - 1)
    words[place : place + 2] = words[place + 1], words[place]
    return " ".join(words)


def unicode_form(text: str) -> str:
    """Full-width letters and digits."""
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


TEXT_CHANGES: dict[str, Callable[[str], str]] = {
    "exact": str, "case, punctuation": lambda text: text.upper() + "!", "Unicode form": unicode_form, "slip of the pen": slip,
    "a word less": dropped, "a word more": added, "two words swapped": swapped, "first 70%": lambda text: text[: int(0.7 * len(text))],
}  # fmt: skip


def halves(rows: list[Any]) -> tuple[list[Any], list[Any]]:
    """A fifth that is kept, and the rest."""
    rows = DRAW.sample(rows, len(rows))
    return rows[: len(rows) // 5], rows[len(rows) // 5 :]


def descriptions() -> list[str]:
    with gzip.open(DATA, "rt") as file:
        return [json.loads(line)["text"] for line in file]


def tool_calls() -> list[tuple[str, str]]:
    rows = {str(row[0]): str(row[1]) for part in ExampleTable(30_000).parts(["prompt", "completion"]) for row in part}
    return list(rows.items())


def texts(curve: tuple[float, ...] = (RESEMBLANCE,)) -> None:
    for name, rows in (("Debian descriptions", [(text, "") for text in descriptions()]), ("tool calls", tool_calls())):
        kept, train = halves(rows)
        known = {normal(text) for text, _ in kept}
        train = [row for row in train if normal(row[0]) not in known]
        planted = {kind: [change(text) for text, _ in DRAW.sample(kept, PLANTED)] for kind, change in TEXT_CHANGES.items()}
        print(f"\n{name}: {len(kept):,} kept, {len(train):,} others that are not the same as one")
        for resemblance in curve:
            index = TextIndex(parts([text for text, _ in kept]), resemblance)
            found = index.find(parts([text for text, _ in train]))
            shares = {kind: len(index.find([values]).samples) / PLANTED for kind, values in planted.items()}
            line = f"resemblance {resemblance}: taken for one {len(found.samples) / len(train):.2%}"
            pairs = [(train[a], kept[b]) for a, b in zip(found.samples.tolist(), found.kept.tolist(), strict=True)]
            if rows[0][1]:
                line += f", with another answer {sum(a[1] != b[1] for a, b in pairs) / len(train):.2%}"
            print(line, *(f"  {kind}: {share:.1%}" for kind, share in shares.items()), sep="\n")
        if len(curve) == 1 and not rows[0][1]:
            for one, other in DRAW.sample(pairs, min(SHOWN, len(pairs))):
                print(f"    {one[0]}  |  {other[0]}")


def paraphrases() -> None:
    """Tool calls whose words differ from all kept ones of the same call."""
    kept, train = halves(tool_calls())
    calls = {call for _, call in kept}
    found = TextIndex(parts([text for text, _ in kept])).find(parts([text for text, _ in train]))
    asked = [number for number, (_, call) in enumerate(train) if call in calls]
    print(f"\nparaphrases, another utterance of a call that is kept: {np.isin(asked, found.samples).mean():.1%} of {len(asked):,} found")


def scale() -> None:
    """20,000 to 1,000,000 texts in 50,000: seconds of processor time and memory."""
    words = sorted({word for text in descriptions() for word in text.split()})

    def made(count: int, seed: int) -> Iterator[list[str]]:
        draw = random.Random(seed)
        for start in range(0, count, AT_ONCE):
            yield [" ".join(draw.choices(words, k=draw.randrange(5, 15))) for _ in range(min(AT_ONCE, count - start))]

    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    index = TextIndex(made(50_000, 1))
    indexed, memory = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for count in (20_000, 200_000, 1_000_000):
        begun = time.process_time()
        found: Found = index.find(made(count, 2))
        spent, peak = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(
            f"{count:,} in 50,000: {len(found.samples)} found, {spent:.1f} s (index {indexed:.1f} s), "
            f"memory {before / 1024:.0f} MB before, {memory / 1024:.0f} with the index, {peak / 1024:.0f} at most"
        )


# Images.


def tiles(folder: Path | None, side: int = 96) -> list[Pixels]:
    """Squares of the two photos of scikit-learn, and of those in `folder`, that do not overlap."""
    photos = [*load_sample_images().images]
    for path in sorted(folder.iterdir()) if folder else []:
        with Image.open(path) as image:
            photos.append(np.asarray(image.convert("RGB")))
    made = []
    for photo in photos:
        height, width = photo.shape[:2]
        made += [photo[y : y + side, x : x + side] for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
    # Black borders of pictures of the sky are the same in all of them.
    return [tile for tile in made if tile.std() >= 4]


def drawings(count: int, side: int = 128) -> list[Pixels]:
    """Rectangles and ellipses on a gradient, with noise."""
    made = []
    for _ in range(count):
        ground = np.linspace(0, 1, side)[:, None, None] * NOISE.integers(0, 255, 3) + np.zeros((side, side, 3))
        picture = Image.fromarray(ground.astype(np.uint8))
        pen = ImageDraw.Draw(picture)
        for _ in range(NOISE.integers(3, 12)):
            x, y, width, height = NOISE.integers(0, side, 2).tolist() + NOISE.integers(6, side // 2, 2).tolist()
            shape = pen.ellipse if NOISE.random() < 0.5 else pen.rectangle
            shape([x, y, x + width, y + height], fill=tuple(NOISE.integers(0, 255, 3).tolist()))
        made.append((np.asarray(picture) + NOISE.normal(0, 4, (side, side, 3))).clip(0, 255).astype(np.uint8))
    return made


def digits() -> list[Pixels]:
    images = (np.round(image * (255 / 16)).astype(np.uint8) for image in load_digits().images)
    return [np.asarray(Image.fromarray(image).resize((32, 32)).convert("RGB")) for image in images]


def compressed(quality: int) -> Callable[[Pixels], Pixels]:
    def change(pixels: Pixels) -> Pixels:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file).convert("RGB"))

    return change


def cropped(low: float, high: float, *, resized: bool = False) -> Callable[[Pixels], Pixels]:
    def change(pixels: Pixels) -> Pixels:
        side = len(pixels)
        size = int(side * NOISE.uniform(low, high))
        y, x = NOISE.integers(0, side - size + 1, 2)
        crop = pixels[y : y + size, x : x + size].copy()
        return np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.BILINEAR)) if resized else crop

    return change


IMAGE_CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "exact": np.copy, "JPEG 50": compressed(50), "JPEG 20": compressed(20),
    "3/4 of the size": lambda pixels: np.asarray(Image.fromarray(pixels).resize((len(pixels) * 3 // 4,) * 2, Image.Resampling.BILINEAR)),
    "10% brighter": lambda pixels: np.asarray(ImageEnhance.Brightness(Image.fromarray(pixels)).enhance(1.1)),
    "grey": lambda pixels: np.asarray(Image.fromarray(pixels).convert("L").convert("RGB")),
    "noise, 6 levels": lambda pixels: (pixels + NOISE.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8),
    "turned by 2 degrees": lambda pixels: np.asarray(Image.fromarray(pixels).rotate(2, Image.Resampling.BILINEAR)),
    "mirrored": lambda pixels: pixels[:, ::-1].copy(), "crop, 80 to 95% of the side": cropped(0.8, 0.95),
    "crop, 65 to 80%": cropped(0.65, 0.8), "the same, resized": cropped(0.65, 0.8, resized=True), "crop, 50 to 65%": cropped(0.5, 0.65),
}  # fmt: skip


def images(folder: Path | None) -> None:
    for name, made in (
        ("tiles of photos, 96", tiles(folder)),
        ("tiles of photos, 192", tiles(folder, 192)),
        ("drawings", drawings(600)),
        ("digits", digits()),
    ):
        order = NOISE.permutation(len(made))
        count = len(made) // (2 if len(made) < 100 else 3)
        kept, others = ([made[number] for number in numbers] for numbers in (order[:count], order[count:]))
        index, begun = ImageIndex([kept]), time.process_time()
        found = index.find([others])
        spent = time.process_time() - begun
        print(
            f"\n{name}: {len(kept)} kept, {len(others)} others, of which {len(found.samples)} are taken for one "
            f"({np.bincount(found.kinds, minlength=len(KINDS)).tolist()} by kind); {spent:.1f} s"
        )
        chosen = kept[:100]
        for kind, change in IMAGE_CHANGES.items():
            got = index.find([[change(image) for image in chosen]])
            print(f"  {kind}: {(got.samples == got.kept).sum() / len(chosen):.0%}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", nargs="?", choices=("texts", "curve", "images", "scale"))
    arguments.add_argument("--photos", type=Path, help="a folder of more photos, of which tiles are cut")
    given = arguments.parse_args()
    asked = given.what
    if asked in (None, "texts"):
        texts()
        paraphrases()
    if asked == "curve":
        texts((0.5, 0.6, 0.67, 0.7, 0.75, 0.8, 0.9))
    if asked in (None, "images"):
        images(given.photos)
    if asked in (None, "scale"):
        scale()
