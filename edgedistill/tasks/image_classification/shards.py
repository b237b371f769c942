"""Tar shards in the layout of webdataset: the files of a sample share a name up to the first dot."""

import glob
import io
import re
import tarfile
from pathlib import Path

import numpy as np

from edgedistill.errors import UserError
from edgedistill.recipe.base import at_home
from edgedistill.tasks.image_classification.decoding import SUFFIXES, read
from edgedistill.tasks.image_classification.sources import Listing

_DIGITS = 6


def shards(pattern: str) -> list[Path]:
    """The files that a pattern names, sorted: globs, and ranges as in `train-{000..009}.tar`; UserError when there are none."""
    patterns = [pattern]
    while match := re.search(r"\{(\d+)\.\.(\d+)\}", patterns[0]):
        first, last = match.groups()
        if max(len(first), len(last)) > _DIGITS or len(patterns) * (int(last) - int(first) + 1) > 10**_DIGITS:
            raise UserError(f"data.source.webdataset: {pattern[:200]} names more than {10**_DIGITS:,} files, expected fewer")
        numbers = [str(n).zfill(len(first)) for n in range(int(first), int(last) + 1)]
        patterns = [p.replace(match.group(), n) for p in patterns for n in numbers]
    files = sorted({Path(name) for p in patterns for name in glob.glob(str(at_home(Path(p))))})
    if not files:
        raise UserError(f"data.source.webdataset: no file matches {pattern}")
    return files


def webdataset(pattern: str) -> Listing:
    """Samples of an image and a `.cls` file with the number or name of its class; without a `.cls` file a sample has no label."""
    images: list[tuple[Path, int, int, str]] = []
    labels: list[str | None] = []
    for shard in shards(pattern):
        try:
            with tarfile.open(shard, "r:") as tar:
                parts: dict[str, dict[str, tarfile.TarInfo]] = {}
                for member in tar:
                    if member.isfile():
                        key, _, kind = Path(member.name).name.partition(".")
                        parts.setdefault(str(Path(member.name).with_name(key)), {})[kind.lower()] = member
                for key, files in parts.items():
                    image = next((m for kind, m in files.items() if f".{kind}" in SUFFIXES), None)
                    if image is None:
                        raise UserError(f"{shard}: sample {key} has no image, found {', '.join(files)}")
                    label = tar.extractfile(files["cls"]) if "cls" in files else None
                    images.append((shard, image.offset_data, image.size, f"{shard}/{image.name}"))
                    labels.append(None if label is None else label.read().decode().strip())
        except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{shard}: not a readable, uncompressed tar file ({error})") from error
    names = {label for label in labels if label is not None}
    # Numbers in their own order: 10 comes after 9.
    classes = sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    if len(classes) < 2:
        raise UserError(f"{pattern}: found {len(classes)} class(es) in .cls files, expected at least 2")
    numbers = np.array([-1 if label is None else classes.index(label) for label in labels], np.int64)
    unsplit, where = np.full(len(numbers), -1, np.int8), [name for *_, name in images]
    return Listing(f"webdataset: {pattern}", classes, numbers, unsplit, where, lambda i: _read(*images[i]))


def _read(shard: Path, offset: int, size: int, name: str) -> object:
    with open(shard, "rb") as file:
        file.seek(offset)
        return read(io.BytesIO(file.read(size)), Path(name).suffix)
