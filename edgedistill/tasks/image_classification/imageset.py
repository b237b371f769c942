"""The resized and split images of a run, in a folder that is written once; where they would not fit, they are decoded as they are used.

Neither the source's images nor the decoded ones are in memory together: worker processes decode some at a time, and what they give is
written and hashed as it comes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgedistill import cores
from edgedistill.errors import UserError
from edgedistill.files import read_json, remove, write_json
from edgedistill.progress import log, track
from edgedistill.recipe.data import MAIN, Member
from edgedistill.rows import Rows, read_rows, writing
from edgedistill.tasks.classification import splits
from edgedistill.tasks.data import SET, SPLITS, Watch
from edgedistill.tasks.image_classification import duplicates
from edgedistill.tasks.image_classification.encoded import Encoded, decoder
from edgedistill.tasks.image_classification.recipe.data import PLAIN, Resize
from edgedistill.tasks.image_classification.sources import Listing
from edgedistill.workers import ordered

Arrays = Mapping[str, np.ndarray]

_AT_ONCE = 64
_BYTES_AT_ONCE = 8 * 2**20
"""Images that a worker decodes at once, and bytes of them at most."""
_MOST_OF_DISK = 0.8
"""Share of the free disk space that decoded images may take: the run writes other files after them."""


@dataclass(frozen=True)
class ImageSet:
    """uint8 RGB images [N, 3, S, S] (read as they are used), labels int64 [N], -1 for none, and the samples' indices of each split.

    fields: further facts of each sample by name, [N].
    """

    source: str
    classes: list[str]
    images: np.ndarray | Rows | Encoded
    labels: np.ndarray
    indices: dict[str, np.ndarray]
    sha256: str
    fields: dict[str, np.ndarray]
    warnings: list[str] = field(default_factory=list)
    """What a user should know of the data, such as images that stand in two splits."""
    folder: Path | None = None
    """Where the images are; None for some in memory."""


def prepare(
    listing: Listing, folder: Path, *, image_size: int, fractions: tuple[float, float], seed: int, resize: Resize = PLAIN,
    watch: Watch | None = None, further: Sequence[Member] = (),
) -> ImageSet:  # fmt: skip
    """Decode every image of `listing` into `folder`; all unreadable ones are named in one UserError.

    Where the decoded images would take more than 80% of the free disk space, each is decoded to be checked, and again whenever it is used.

    fractions: shares of val and of the holdout, drawn by `seed` within each class, where the data has no splits. further: what images come
    from beside `data.source`.
    """
    split = assign_splits(listing, fractions, seed, further)
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(listing.labels), 3, image_size, image_size)
    encoded = _is_too_large(shape, folder)
    digest = hashlib.sha256()
    with _prints(folder, len(listing.labels)) as (prints, append):
        with ExitStack() as stack:
            write = None if encoded else stack.enter_context(writing(folder / "images.npy", np.uint8, shape))
            for pixels, parts in _decoded(listing, image_size, resize):
                digest.update(pixels.data)
                if write is not None:
                    write(pixels)
                append(parts)
        if watch is not None:
            split = watch("images", lambda: _pixels(listing, folder, image_size, resize), split)
        digest.update(listing.labels.tobytes() + split.tobytes())
        for name, values in sorted(listing.fields.items()):
            digest.update(name.encode() + values.tobytes())
        np.savez(folder / "fields.npz", **listing.fields)  # type: ignore[arg-type]
        np.save(folder / "labels.npy", listing.labels)
        np.save(folder / "split.npy", split)
        written = prints()
        # What stands in two splits, the watch tells.
        compared = split if watch is None else np.zeros_like(split)
        warnings = duplicates.findings(written, compared, listing.labels, listing.names)
        if encoded:
            shutil.copyfile(folder / "prints" / "exact.npy", folder / "exact.npy")
    for text in warnings:
        log(f"WARNING: {text}")
    warnings += [] if watch is None else watch.warnings
    facts = {"source": listing.name, "classes": listing.classes, "sha256": digest.hexdigest(), "warnings": warnings}
    write_json(folder / "data.json", facts | {"encoded": encoded, "image_size": image_size, "resize": resize.model_dump()})
    return load(folder, lambda: listing)


def load(folder: Path, listed: Callable[[], Listing] | None = None) -> ImageSet:
    """The image set that `prepare` wrote into `folder`. listed: its listing, which images that are decoded as they come are read by."""
    facts = read_json(folder / "data.json")
    split = np.load(folder / "split.npy")
    indices = {name: np.flatnonzero(split == number) for number, name in enumerate(SPLITS)}
    images: Rows | Encoded
    if facts.get("encoded"):
        if listed is None:
            raise ValueError(f"the images of {folder} are encoded, expected their listing")
        images = Encoded(listed, facts["image_size"], Resize(**facts.get("resize", {})), Rows(folder / "exact.npy"))
    else:
        images = Rows(folder / "images.npy")
    with np.load(folder / "fields.npz") as file:
        fields = {name: file[name] for name in file.files}
    labels = np.load(folder / "labels.npy")
    warnings = facts.get("warnings", [])
    return ImageSet(facts["source"], facts["classes"], images, labels, indices, facts["sha256"], fields, warnings, folder)


def _is_too_large(shape: tuple[int, ...], folder: Path) -> bool:
    """Whether decoded images of `shape` would take too much of the disk; told where they do."""
    needed, free = float(np.prod(shape, dtype=float)), shutil.disk_usage(folder).free
    if needed <= _MOST_OF_DISK * free:
        return False
    log(
        f"decoded, the images would take {needed / 1e9:.3g} GB of the {free / 1e9:.3g} GB that are free in {folder}: "
        "they are decoded again whenever they are used, which takes longer"
    )
    return True


def _pixels(listing: Listing, folder: Path, size: int, resize: Resize) -> Iterator[np.ndarray]:
    """All images in their order, uint8 [n, S, S, 3], as they were written, or decoded again."""
    if (folder / "images.npy").exists():
        rows = Rows(folder / "images.npy")
        parts = (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))
    else:
        parts = (pixels for pixels, _ in _decoded(listing, size, resize))
    yield from (part.transpose(0, 2, 3, 1) for part in parts)


@contextmanager
def _prints(folder: Path, count: int) -> Iterator[tuple[Callable[[], Arrays], Callable[[Arrays], None]]]:
    """Files of fingerprints that are there for the block: functions that read all of them, and that append some."""
    place = folder / "prints"
    with ExitStack() as files:
        files.callback(remove, place)
        with ExitStack() as open_files:
            writers = {
                name: open_files.enter_context(writing(place / f"{name}.npy", kind, (count, *shape)))
                for name, (kind, shape) in duplicates.COLUMNS.items()
            }

            def append(parts: Arrays) -> None:
                for name, write in writers.items():
                    write(parts[name])

            def prints() -> Arrays:
                open_files.close()
                return read_rows(place)

            yield prints, append


def _decoded(listing: Listing, size: int, resize: Resize) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """All images in their order, uint8 [n, 3, S, S] and the parts of their fingerprints; UserError at the end for those not readable."""
    read, count = decoder(listing, size, resize), len(listing.labels)

    def decode(numbers: range) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
        pixels, broken = np.zeros((len(numbers), 3, size, size), np.uint8), []
        for place, number in enumerate(numbers):
            try:
                pixels[place] = read(number)
            except UserError as error:
                broken.append(str(error))
        prints = [duplicates.fingerprint(image) for image in pixels]
        return pixels, {name: np.stack([getattr(one, name) for one in prints]) for name in duplicates.COLUMNS}, broken

    step = max(1, min(_AT_ONCE, _BYTES_AT_ONCE // (3 * size * size)))
    parts = [range(start, min(start + step, count)) for start in range(0, count, step)]
    unreadable: list[str] = []
    found = 0
    workers = cores.available()
    with track("decode", count) as progress:
        for part, (pixels, prints, broken) in zip(parts, ordered(decode, parts, workers if workers > 1 else 0), strict=True):
            found += len(broken)
            unreadable += broken[: 10 - len(unreadable)]
            progress.advance(len(part))
            yield pixels, prints
    if found:
        more = f" and {found - 10} more" if found > 10 else ""
        raise UserError(f"{found} unreadable image(s): {'; '.join(unreadable)}{more}. Repair or remove them.")


def assign_splits(listing: Listing, fractions: tuple[float, float], seed: int, further: Sequence[Member] = ()) -> np.ndarray:
    """The split of each sample, int8 [N]; see `classification.splits.assign_splits_of_sets`."""
    members = [Member(MAIN, None, fractions), *further]
    sets, named = listing.fields[SET] if further else None, lambda i: listing.names[i]
    return splits.assign_splits_of_sets(
        members, sets, listing.labels, listing.split, listing.classes, seed, named=named, sample="image"
    )  # fmt: skip
