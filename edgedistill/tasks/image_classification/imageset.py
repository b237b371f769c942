"""The decoded, resized and split images of a run, memory-mapped from a folder that is written once."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgedistill.errors import UserError
from edgedistill.files import read_json, replacing, write_json
from edgedistill.progress import log, track
from edgedistill.tasks.data import SPLITS
from edgedistill.tasks.image_classification import duplicates
from edgedistill.tasks.image_classification.decoding import as_seen
from edgedistill.tasks.image_classification.sources import Listing


@dataclass(frozen=True)
class ImageSet:
    """uint8 RGB images [N, 3, S, S] (memory-mapped), labels int64 [N], -1 for none, and the samples' indices of each split.

    fields: further facts of each sample by name, [N].
    """

    source: str
    classes: list[str]
    images: np.ndarray
    labels: np.ndarray
    indices: dict[str, np.ndarray]
    sha256: str
    fields: dict[str, np.ndarray]
    warnings: list[str] = field(default_factory=list)
    """What a user should know of the data, such as images that stand in two splits."""


def prepare(listing: Listing, folder: Path, *, image_size: int, fractions: tuple[float, float], seed: int) -> ImageSet:
    """Decode every image of `listing` into `folder`; all unreadable ones are named in one UserError.

    fractions: shares of val and of the holdout, drawn by `seed` within each class, where the data has no splits.
    """
    split = assign_splits(listing, fractions, seed)
    count = len(listing.labels)
    path = folder / "images.npy"
    with replacing(path) as temporary:
        folder.mkdir(parents=True, exist_ok=True)
        images = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=(count, 3, image_size, image_size))
        broken, prints = _decode(listing, images, image_size)
        if broken:
            more = f" and {len(broken) - 10} more" if len(broken) > 10 else ""
            raise UserError(f"{len(broken)} unreadable image(s): {'; '.join(broken[:10])}{more}. Repair or remove them.")
        images.flush()
        digest = hashlib.sha256(images.tobytes())
    digest.update(listing.labels.tobytes() + split.tobytes())
    for name, values in sorted(listing.fields.items()):
        digest.update(name.encode() + values.tobytes())
    np.savez(folder / "fields.npz", **listing.fields)  # type: ignore[arg-type]
    np.save(folder / "labels.npy", listing.labels)
    np.save(folder / "split.npy", split)
    warnings = duplicates.findings(prints, split, listing.labels, listing.names)
    for text in warnings:
        log(f"WARNING: {text}")
    facts = {"source": listing.name, "classes": listing.classes, "sha256": digest.hexdigest(), "warnings": warnings}
    write_json(folder / "data.json", facts)
    return load(folder)


def load(folder: Path) -> ImageSet:
    """The image set that `prepare` wrote into `folder`."""
    facts = read_json(folder / "data.json")
    split = np.load(folder / "split.npy")
    indices = {name: np.flatnonzero(split == number) for number, name in enumerate(SPLITS)}
    images = np.load(folder / "images.npy", mmap_mode="r")
    with np.load(folder / "fields.npz") as file:
        fields = {name: file[name] for name in file.files}
    labels = np.load(folder / "labels.npy")
    return ImageSet(facts["source"], facts["classes"], images, labels, indices, facts["sha256"], fields, facts.get("warnings", []))


def _decode(listing: Listing, images: np.ndarray, size: int) -> tuple[list[str], list[duplicates.Fingerprint]]:
    """Write every image; returns what could not be read, and the fingerprints of the images."""
    from PIL import Image
    from torchvision.transforms import v2

    resize = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size)])

    def decode(index: int) -> str | None:
        try:
            raw = listing.read(index)
            image = as_seen(raw if isinstance(raw, Image.Image) else Image.fromarray(raw))  # type: ignore[arg-type]
        except (OSError, SyntaxError, ValueError) as error:
            return f"{listing.names[index]} ({error})"
        images[index] = np.asarray(resize(image)).transpose(2, 0, 1)
        prints[index] = duplicates.fingerprint(images[index])
        return None

    broken = []
    prints: dict[int, duplicates.Fingerprint] = {}
    with ThreadPoolExecutor(2) as pool, track("decode", len(listing.labels)) as progress:
        for problem in pool.map(decode, range(len(listing.labels))):
            progress.advance()
            if problem is not None:
                broken.append(problem)
    return broken, [prints[index] for index in sorted(prints)]


def assign_splits(listing: Listing, fractions: tuple[float, float], seed: int) -> np.ndarray:
    """The split of each sample, int8 [N]: the data's own, completed within each class by `seed`.

    A split that the data lacks is drawn from its training samples; data without any split is divided whole. Samples without a label
    only train; UserError where the data's own split has one in val or holdout.
    """
    if stray := [listing.names[i] for i in np.flatnonzero((listing.labels < 0) & (listing.split > 0))]:
        raise UserError(f"{len(stray)} image(s) of val or holdout have no label, which both need: {'; '.join(stray[:5])}")
    split = np.where(listing.split < 0, 0, listing.split).astype(np.int8)
    rng = np.random.default_rng(seed)
    missing_splits = [(number, share) for number, share in zip((1, 2), fractions, strict=True) if share and not (split == number).any()]
    # Images without labels are divided as if they were of one class.
    for label, name in enumerate(listing.classes) if listing.classes else [(-1, "without a label")]:
        pool = rng.permutation(np.flatnonzero((listing.labels == label) & (split == 0)))
        taken = 0
        for number, share in missing_splits:
            size = max(1, round(share * len(pool)))
            split[pool[taken : taken + size]] = number
            taken += size
        if len(pool) <= taken:
            raise UserError(
                f"class '{name}' has {len(pool)} image(s) to divide, expected at least {len(missing_splits) + 1}: "
                "one each for train, val and holdout. Add images or remove the class."
            )
    return split
