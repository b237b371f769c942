"""Where images come from: the embedded digits, folders of class folders, or one npz file.

Each source gives a `Listing`: what there is, without reading a pixel, so that mistakes show before any work.
"""

import bisect
import csv
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgedistill.errors import UserError
from edgedistill.progress import log
from edgedistill.tasks.data import SPLITS
from edgedistill.tasks.image_classification.decoding import SUFFIXES, is_hidden, read
from edgedistill.tasks.npz import read_npz

_OTHER_SPLITS = ("test", "testing", "training", "valid", "validation", "dev")
"""Words for splits in other data sets."""


@dataclass(frozen=True)
class Listing:
    """Samples of a source: `read(i)` gives sample i as a PIL image or uint8 array [H, W] or [H, W, 3].

    labels: int64 [N], -1 for a sample without one. split: int8 [N], index into SPLITS, -1 where the data does not say. names: for error
    messages, made as they are asked for, since a million of them take hundreds of megabytes. fields: further facts of each sample by name,
    [N]. version: what changes with the content, where names do not tell.
    """

    name: str
    classes: list[str]
    labels: np.ndarray
    split: np.ndarray
    names: Sequence[str]
    read: Callable[[int], object]
    fields: dict[str, np.ndarray] = field(default_factory=dict)
    version: str = ""


class Named(Sequence[str]):
    """`count` names, each made by `name` of its number."""

    def __init__(self, count: int, name: Callable[[int], str]) -> None:
        self._count, self._name = count, name

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        if isinstance(number, slice):
            return [self._name(i) for i in range(*number.indices(self._count))]
        if not -self._count <= number < self._count:
            raise IndexError(number)
        return self._name(int(number) % self._count)


class Paths(Named):
    """Paths in `folder`, held as the bytes of what is behind it."""

    def __init__(self, folder: Path, paths: Iterable[Path]) -> None:
        self._folder, self._bytes, self._ends = folder, bytearray(), array("Q")
        for path in paths:
            self._bytes += os.fsencode(path.relative_to(folder))
            self._ends.append(len(self._bytes))
        super().__init__(len(self._ends), lambda number: str(self.path(number)))

    def path(self, number: int) -> Path:
        """The path with that number."""
        start = self._ends[number - 1] if number else 0
        return self._folder / os.fsdecode(bytes(self._bytes[start : self._ends[number]]))

    def read(self, number: int) -> object:
        """The image in the file with that number."""
        return read(self.path(number))


def digits() -> Listing:
    """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships (UCI, Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.round(data.images * (255 / 16)).astype(np.uint8)
    labels = data.target.astype(np.int64)
    names = Named(len(labels), lambda i: f"digit {i}")
    classes = [str(c) for c in data.target_names]
    return Listing("sklearn-digits", classes, labels, np.full(len(labels), -1, np.int8), names, lambda i: images[i])


def _is_text(name: str) -> bool:
    """Whether a file name is text: bytes of other encodings come as surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def imagefolder(folder: Path, least: int = 2) -> Listing:
    """Class folders in `folder`, or train/val/holdout folders of class folders; every class needs an image. least: fewest classes."""
    if not folder.is_dir():
        raise UserError(f"data.source.imagefolder: no such folder: {folder}")
    roots = {s: folder / s for s in SPLITS if (folder / s).is_dir()}
    inside = sorted(d.name for d in folder.iterdir() if d.is_dir() and not is_hidden(Path(d.name)))
    strange = [name for name in inside if name.lower() in (*SPLITS, *_OTHER_SPLITS) and name not in SPLITS]
    if strange and (roots or {"train", "training"} & {name.lower() for name in strange}):
        raise UserError(
            f"{folder}: found the folders {', '.join(strange)}; expected train, val and holdout, in these words. "
            "Rename them (test images are the holdout), or move them elsewhere"
        )
    if roots and "train" not in roots:
        raise UserError(f"{folder}: found {', '.join(roots)} but no train; expected train, val and holdout folders, or class folders alone")
    groups = {SPLITS.index(s): root for s, root in roots.items()} or {-1: folder}
    classes = sorted({d.name for root in groups.values() for d in root.iterdir() if d.is_dir() and not is_hidden(Path(d.name))})
    if unreadable := [name for name in classes if not _is_text(name)]:
        raise UserError(f"{folder}: the name of the class folder {unreadable[0]!r} is not UTF-8; rename it")
    if len(classes) < least:
        raise UserError(f"{folder}: found {len(classes)} class folders, expected at least {least} (one folder a class, images inside)")
    counts: list[tuple[int, int, int]] = []
    empty = []

    def files() -> Iterator[Path]:
        for group, root in groups.items():
            for label, name in enumerate(classes):
                found = _files(root / name)
                if not found:
                    empty.append(str(root / name))
                counts.append((label, group, len(found)))
                yield from found

    names = Paths(folder, files())
    if empty:
        raise UserError(f"no images in class folder {', '.join(empty)}: add images ({', '.join(sorted(SUFFIXES))}) or remove the folder")
    labels, split, sizes = np.array(counts, np.int64).T
    return Listing(f"imagefolder: {folder}", classes, labels.repeat(sizes), split.astype(np.int8).repeat(sizes), names, names.read)


def npz(path: Path, least: int = 2) -> Listing:
    """A numpy file with `images` uint8 [N, H, W] or [N, H, W, 3], `labels` [N] (-1: none), optional `split` [N]; see `recipe.data.Npz`.

    least: with 1 some labels may have no image.
    """
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise UserError(f"data.source.npz: {path}: not a readable npz file ({error})") from error
    missing = [key for key in ("images", "labels") if key not in arrays]
    if missing:
        raise UserError(f"{path}: no array {' or '.join(missing)}; expected images, labels and optionally split")
    images, labels = arrays.pop("images"), arrays.pop("labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(f"{path}: labels are {labels.dtype} {labels.shape}, expected whole numbers [N]")
    labels = labels.astype(np.int64)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        raise UserError(f"{path}: images are {images.dtype} {images.shape}, expected uint8 [N, H, W] or [N, H, W, 3]")
    split = arrays.pop("split", np.full(len(labels), -1))
    if split.ndim != 1 or split.dtype.kind not in "iu":
        raise UserError(f"{path}: split is {split.dtype} {split.shape}, expected whole numbers [N]")
    split = split.clip(-2, 3).astype(np.int8)
    if not len(images) == len(labels) == len(split):
        raise UserError(f"{path}: {len(images)} images, {len(labels)} labels, {len(split)} splits; expected equal numbers")
    if len(labels) == 0 or labels.min() < -1 or labels.max() < 0 or not set(np.unique(split)) <= {-1, 0, 1, 2}:
        raise UserError(f"{path}: expected labels from 0 up, -1 for none, and splits 0 (train), 1 (val), 2 (holdout)")
    if labels.max() >= len(labels):
        raise UserError(f"{path}: found the label {labels.max()} and {len(labels)} images; expected every label from 0 up")
    classes, found = [str(c) for c in range(int(labels.max()) + 1)], set(labels.tolist())
    absent = [c for c in classes if int(c) not in found]
    if absent and least > 1:
        raise UserError(f"{path}: no image of class {', '.join(absent[:10])}; expected every label from 0 to {len(classes) - 1}")
    names = Named(len(labels), lambda i: f"{path} image {i}")
    squeezed = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
    fields = {name: values for name, values in arrays.items() if values.shape == labels.shape and values.dtype.kind in "iuUb"}
    return Listing(f"npz: {path}", classes, labels, split, names, lambda i: squeezed[i], fields)


def table(path: Path, *, image: str, label: str, split: str | None, least: int = 2) -> Listing:
    """The images that the rows of a CSV file name; see `recipe.data.Csv` for the columns. least: fewest classes."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.source.csv: {path}: not a readable CSV file ({error})") from error
    columns = list(rows[0]) if rows else []
    if missing := [name for name in (image, label, split) if name is not None and name not in columns]:
        raise UserError(f"{path}: no column {' or '.join(missing)}, found {', '.join(map(str, columns)) or 'an empty file'}")
    files = [path.parent / (row[image] or "") for row in rows]
    if lost := [f"line {number}: {file}" for number, file in enumerate(files, 2) if not file.is_file()]:
        raise UserError(f"{path}: {len(lost)} image(s) are not there: {'; '.join(lost[:10])}")
    classes = sorted({row[label] for row in rows if row[label]})
    if len(classes) < least:
        raise UserError(f"{path}: found {len(classes)} class(es) in column {label}, expected at least {least}")
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers.get(row[label], -1) for row in rows], np.int64)
    splits = np.full(len(rows), -1, np.int8)
    if split is not None:
        if strange := sorted({str(row[split]) for row in rows} - {*SPLITS, ""}):
            raise UserError(f"{path}: column {split} has {', '.join(strange[:5])}, expected train, val or holdout")
        splits = np.array([SPLITS.index(row[split]) if row[split] else -1 for row in rows], np.int8)
    fields = {name: np.array([row[name] or "" for row in rows]) for name in columns if name not in (image, label, split)}
    names = Named(len(files), lambda i: str(files[i]))
    return Listing(f"csv: {path}", classes, labels, splits, names, lambda i: read(files[i]), fields)


def unlabelled(folder: Path) -> Listing:
    """The images in `folder`, at any depth, without labels or classes."""
    paths = paths_in(folder, "data.source.images")
    return Listing(f"images: {folder}", [], np.full(len(paths), -1), np.full(len(paths), -1, np.int8), paths, paths.read)


def _files(folder: Path) -> list[Path]:
    """The image files in `folder` at any depth, sorted; hidden ones are skipped."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    hidden = {path for path in files if is_hidden(path.relative_to(folder))}
    if hidden:
        log(f"{folder}: skipped {len(hidden)} hidden file(s), such as {min(hidden).name}")
    return [path for path in files if path not in hidden]


def paths_in(folder: Path, field: str) -> Paths:
    """The images in `folder`, at any depth; UserError where there are none. field: of the recipe that names it."""
    paths = _files(folder)
    if not paths:
        raise UserError(f"{field}: no images in {folder}, expected some ({', '.join(sorted(SUFFIXES))})")
    return Paths(folder, paths)


def with_unlabelled(listing: Listing, folder: Path) -> Listing:
    """`listing` with the images in `folder`, at any depth, as training samples without a label."""
    found = unlabelled(folder)
    return joined([listing, replace(found, name=listing.name, split=np.zeros(len(found.split), np.int8))])


def joined(listings: Sequence[Listing]) -> Listing:
    """The samples of all `listings`, one behind the other, with the classes of the first; UserError where another has further ones."""
    first = listings[0]
    numbers = {name: number for number, name in enumerate(first.classes)}
    for other in listings[1:]:
        if unknown := [name for name in other.classes if name not in numbers]:
            expected = f"expected classes of {first.name}: {', '.join(first.classes[:20]) or 'none'}"
            raise UserError(f"{other.name}: found the class '{unknown[0]}', {expected}")
    labels = [np.array([*(numbers[name] for name in one.classes), -1], np.int64)[one.labels] for one in listings]
    starts = np.cumsum([0, *(len(one.labels) for one in listings)]).tolist()

    def place(i: int) -> tuple[Listing, int]:
        number = bisect.bisect_right(starts, i) - 1
        return listings[number], i - starts[number]

    def name_of(i: int) -> str:
        listing, number = place(i)
        return listing.names[number]

    def read_one(i: int) -> object:
        listing, number = place(i)
        return listing.read(number)

    fields = {
        name: np.concatenate([one.fields.get(name, np.full(len(one.labels), "", "U1")) for one in listings])
        for name in dict.fromkeys(name for one in listings for name in one.fields)
    }
    return Listing(
        " and ".join(dict.fromkeys(one.name for one in listings)),
        first.classes,
        np.concatenate(labels),
        np.concatenate([one.split for one in listings]),
        Named(starts[-1], name_of),
        read_one,
        fields,
        first.version,
    )
