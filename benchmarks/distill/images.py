"""Five sets of images, drawn by a seed or taken from what is installed, each written as one .npz file with its splits.

Each has training, validation and holdout images, and `tune` images beside them: settings are chosen by these, so that neither the val
of a run nor its holdout has a part in a choice.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

MNIST = Path(__file__).parent.parent / "data" / "mnist10k.npz"
Drawn = tuple[np.ndarray, np.ndarray]
"""Images uint8 [N, H, W] or [N, H, W, 3], and labels int64 [N]."""
SIZES = {"train": 2000, "val": 500, "holdout": 2000, "tune": 1500}


def write(name: str, folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """The files of the set `name`, made where they are missing: train, val and holdout; and the images to tune by."""
    own, tune = folder / f"{name}.npz", folder / f"{name}-tune.npz"
    if not tune.exists():
        draw, sizes = (SETS | HARD)[name]
        rng = np.random.default_rng(seed)
        images, labels = draw(sum(sizes.values()), rng)
        order = rng.permutation(len(labels))
        images, labels = images[order], labels[order]
        count = len(labels) - sizes["tune"]
        split = np.repeat(np.arange(3, dtype=np.uint8), [sizes[name] for name in ("train", "val", "holdout")])
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(own, images=images[:count], labels=labels[:count], split=split)
        np.savez(tune, images=images[count:], labels=labels[count:])
    return own, tune


def mnist10k(count: int, rng: np.random.Generator) -> Drawn:
    """Digits of MNIST, [count, 28, 28]."""
    arrays = np.load(MNIST)
    chosen = rng.permutation(len(arrays["labels"]))[:count]
    return arrays["images"][chosen], arrays["labels"][chosen].astype(np.int64)


def digits(count: int, rng: np.random.Generator) -> Drawn:
    """The scans of scikit-learn, [count, 8, 8], brought to 0..255."""
    from sklearn.datasets import load_digits

    arrays = load_digits()
    chosen = rng.permutation(len(arrays.target))[:count]
    return np.rint(arrays.images[chosen] * (255 / 16)).astype(np.uint8), arrays.target[chosen].astype(np.int64)


_SIDE, _FINE = 32, 4
"""Pixels of a drawn image, and how much finer it is drawn."""
_FRAMES = (3, 4, 5, 6, 40)
"""Corners of an icon's frame; 40 is a circle."""
_MARKS = "+AHKRTXZ2479"


def icons(count: int, rng: np.random.Generator) -> Drawn:
    """60 icons, [count, 32, 32, 3]: a mark in one of five frames, turned, resized, coloured, blurred and noisy."""
    labels = np.arange(count) % (len(_FRAMES) * len(_MARKS))
    return np.stack([_icon(int(label), rng) for label in labels]), labels


def _icon(label: int, rng: np.random.Generator) -> np.ndarray:
    corners, mark = _FRAMES[label // len(_MARKS)], _MARKS[label % len(_MARKS)]
    side = _SIDE * _FINE
    below, above = _colours(rng)
    image = Image.new("RGB", (side, side), below)
    draw, radius = ImageDraw.Draw(image), side * rng.uniform(0.38, 0.48)
    middle = side / 2 + rng.uniform(-0.05, 0.05, 2) * side
    outline = _polygon(corners, radius, rng.uniform(-0.15, 0.15), middle)
    draw.line([*outline, outline[0], outline[1]], fill=above, width=int(side * rng.uniform(0.04, 0.06)))
    font = ImageFont.load_default(size=side * rng.uniform(0.42, 0.52))
    draw.text(tuple(middle), mark, fill=above, font=font, anchor="mm")
    return _photographed(image.rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR, fillcolor=below), rng, noise=14)


def _polygon(corners: int, radius: float, turn: float, middle: np.ndarray, inner: float = 1.0) -> list[tuple[float, float]]:
    """A regular polygon, or a star where every second corner is `inner` times as far from the middle."""
    count = corners if inner == 1 else 2 * corners
    angles = turn - np.pi / 2 + np.arange(count) * 2 * np.pi / count
    radii = radius * np.where(np.arange(count) % 2, inner, 1.0)
    return [(float(middle[0] + r * np.cos(a)), float(middle[1] + r * np.sin(a))) for r, a in zip(radii, angles, strict=True)]


def _colours(rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Two colours that differ enough in brightness, the darker or the brighter first."""
    low, high = rng.integers(0, 110, 3), rng.integers(145, 256, 3)
    pair = [tuple(int(value) for value in colour) for colour in (low, high)]
    return pair if rng.random() < 0.5 else pair[::-1]


def _photographed(image: Image.Image, rng: np.random.Generator, *, noise: float) -> np.ndarray:
    """The image at its final size, a little blurred, with noise of a standard deviation up to `noise`."""
    side = image.width // _FINE
    small = image.resize((side, side), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.6)))
    noisy = np.asarray(small, dtype=np.float32) + rng.normal(0, rng.uniform(0, noise), (side, side, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def textures(count: int, rng: np.random.Generator) -> Drawn:
    """Twelve textures, [count, 32, 32, 3]: three structures, each fine or coarse, soft or hard; direction, phase and colours vary."""
    labels = np.arange(count) % 12
    return np.stack([_texture(int(label), rng) for label in labels]), labels


def _texture(label: int, rng: np.random.Generator) -> np.ndarray:
    structure, coarse, hard = label // 4, label // 2 % 2, label % 2
    period = rng.uniform(8.0, 11.0) if coarse else rng.uniform(4.5, 7.0)
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)
    y, x = np.mgrid[:_SIDE, :_SIDE]
    warp = rng.uniform(0, 1.2) * np.sin(2 * np.pi * (x + y) / _SIDE + phase[0])
    along, across = ((x * np.cos(a) + y * np.sin(a) + warp) * 2 * np.pi / period for a in (angle, angle + np.pi / 2))
    first, second = np.sin(along + phase[0]), np.sin(across + phase[1])
    value = (first, first * second, np.maximum(first, second) * 1.2 - 0.5)[structure]
    value = np.tanh((8.0 if hard else 1.2) * value)
    below, above = (np.array(colour, dtype=np.float64) for colour in _colours(rng))
    image = below + (value[..., None] + 1) / 2 * (above - below) * rng.uniform(0.6, 1.0)
    return (image + rng.normal(0, rng.uniform(0, 30), image.shape)).clip(0, 255).astype(np.uint8)


def objects(count: int, rng: np.random.Generator) -> Drawn:
    """Eight small shapes, [count, 32, 32, 3], anywhere on a clutter of lines, spots and patches."""
    labels = np.arange(count) % 8
    return np.stack([_object(int(label), rng) for label in labels]), labels


def _clutter(side: int, rng: np.random.Generator) -> Image.Image:
    """Lines and spots on one colour, a square of `side` pixels."""
    image = Image.new("RGB", (side, side), tuple(int(v) for v in rng.integers(60, 200, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(4, 9)):
        colour, ends = tuple(int(v) for v in rng.integers(0, 256, 3)), rng.uniform(0, side, (2, 2))
        if rng.random() < 0.6:
            draw.line([tuple(end) for end in ends], fill=colour, width=int(rng.integers(4, 14)))
        else:
            radius = rng.uniform(4, 16)
            draw.ellipse([*(ends[0] - radius), *(ends[0] + radius)], fill=colour)
    return image


def _object(label: int, rng: np.random.Generator) -> np.ndarray:
    side = _SIDE * _FINE
    image = _clutter(side, rng)
    draw, radius = ImageDraw.Draw(image), side * rng.uniform(0.22, 0.3)
    middle = rng.uniform(radius, side - radius, 2)
    below, above = _colours(rng)
    draw.ellipse([*(middle - radius * 1.15), *(middle + radius * 1.15)], fill=below)
    turn = rng.uniform(0, 2 * np.pi)
    corners, inner = ((3, 1), (4, 1), (5, 1), (40, 1), (3, 0.35), (4, 0.35), (5, 0.45), (2, 0.35))[label]
    draw.polygon(_polygon(corners, radius, turn, middle, inner), fill=above)
    return _photographed(image, rng, noise=12)


def signs(count: int, rng: np.random.Generator) -> Drawn:
    """The 60 icons, [count, 64, 64, 3], smaller, anywhere on a clutter, and with more noise."""
    labels = np.arange(count) % (len(_FRAMES) * len(_MARKS))
    return np.stack([_sign(int(label), rng) for label in labels]), labels


def _sign(label: int, rng: np.random.Generator) -> np.ndarray:
    corners, mark = _FRAMES[label // len(_MARKS)], _MARKS[label % len(_MARKS)]
    side = 64 * _FINE
    image, radius = _clutter(side, rng), side * rng.uniform(0.24, 0.4)
    middle = rng.uniform(radius, side - radius, 2)
    below, above = _colours(rng)
    plate = Image.new("RGB", (side, side), below)
    draw = ImageDraw.Draw(plate)
    font = ImageFont.load_default(size=radius * rng.uniform(1.0, 1.2))
    draw.text(tuple(middle), mark, fill=above, font=font, anchor="mm")
    outline = _polygon(corners, radius, rng.uniform(-0.2, 0.2), middle)
    draw.line([*outline, outline[0], outline[1]], fill=above, width=int(radius * rng.uniform(0.1, 0.16)))
    inside = Image.new("L", (side, side), 0)
    ImageDraw.Draw(inside).polygon(_polygon(corners, radius * 1.1, 0.0, middle), fill=255)
    turn, centre = rng.uniform(-15, 15), tuple(middle)
    turned, mask = (i.rotate(turn, Image.Resampling.BILINEAR, center=centre, fillcolor=f) for i, f in ((plate, below), (inside, 0)))
    image.paste(turned, mask=mask)
    return _photographed(image, rng, noise=24)


SETS: dict[str, tuple[Callable[[int, np.random.Generator], Drawn], dict[str, int]]] = {
    "mnist10k": (mnist10k, SIZES),
    "digits": (digits, {"train": 800, "val": 200, "holdout": 497, "tune": 300}),
    "icons": (icons, SIZES | {"train": 2400}),
    "textures": (textures, SIZES),
    "objects": (objects, SIZES),
}
HARD = {"signs": (signs, {"train": 6000, "val": 800, "holdout": 3000, "tune": 1000})}
"""Large enough, and hard enough, for the students of int8.py."""
