"""Tar shards in the layout of webdataset: the files of a sample share a name up to the first dot."""

import bisect
import glob
import io
import re
import tarfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgedistill.errors import UserError
from edgedistill.recipe.base import at_home
from edgedistill.tasks.image_classification.decoding import SUFFIXES, read
from edgedistill.tasks.image_classification.sources import Listing, Named

_KINDS = sorted(SUFFIXES)

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


def webdataset(pattern: str, least: int = 2) -> Listing:
    """Samples of an image and a `.cls` file with the number or name of its class; without a `.cls` file a sample has no label.

    least: fewest classes.
    """
    files = shards(pattern)
    # Numbers in arrays: a tuple and a name for each sample take half a kilobyte.
    starts, offsets, sizes, kinds, found = [0], array("q"), array("I"), array("B"), array("i")
    known: dict[str, int] = {}
    for shard in files:
        try:
            with tarfile.open(shard, "r:") as tar, open(shard, "rb") as raw:
                for image, label in _samples(tar, shard):
                    offsets.append(image.offset_data)
                    sizes.append(image.size)
                    kinds.append(_KINDS.index(Path(image.name).suffix.lower()))
                    found.append(-1 if label is None else known.setdefault(_text(raw, label), len(known)))
        except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{shard}: not a readable, uncompressed tar file ({error})") from error
        starts.append(len(found))
    # Numbers in their own order: 10 comes after 9.
    classes = sorted(known, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    if len(classes) < least:
        raise UserError(f"{pattern}: found {len(classes)} class(es) in .cls files, expected at least {least}")
    order = np.array([classes.index(name) for name in known] + [-1], np.int64)
    labels = order[np.frombuffer(found, np.int32)]

    def shard_of(i: int) -> Path:
        return files[bisect.bisect_right(starts, i) - 1]

    def read_one(i: int) -> object:
        with open(shard_of(i), "rb") as file:
            file.seek(offsets[i])
            return read(io.BytesIO(file.read(sizes[i])), _KINDS[kinds[i]])

    names = Named(len(labels), lambda i: f"{shard_of(i)}/{_member(shard_of(i), offsets[i])}")
    return Listing(f"webdataset: {pattern}", classes, labels, np.full(len(labels), -1, np.int8), names, read_one)


def _samples(tar: tarfile.TarFile, shard: Path) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarInfo | None]]:
    """The image and the label of each sample of a shard."""
    parts: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in tar:
        if member.isfile():
            key, _, kind = Path(member.name).name.partition(".")
            parts.setdefault(str(Path(member.name).with_name(key)), {})[kind.lower()] = member
    for key, files in parts.items():
        image = next((m for kind, m in files.items() if f".{kind}" in SUFFIXES), None)
        if image is None:
            raise UserError(f"{shard}: sample {key} has no image, found {', '.join(files)}")
        yield image, files.get("cls")


def _text(file: BinaryIO, member: tarfile.TarInfo) -> str:
    file.seek(member.offset_data)
    return file.read(member.size).decode().strip()


def _member(shard: Path, offset: int) -> str:
    """The name of the file whose content begins at `offset`: names of all samples would take more memory than what is read of them."""
    with tarfile.open(shard, "r:") as tar:
        return next(member.name for member in tar if member.offset_data == offset)
