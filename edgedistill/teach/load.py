"""The steps before training: images from the recipe's source, and a fingerprint that tells when they changed."""

from pathlib import Path
from typing import Any

from edgedistill.files import canonical_hash, sha256_file
from edgedistill.recipe.data import Data, ImageFolder, Npz
from edgedistill.teach import imageset, sources
from edgedistill.teach.sources import Listing


def listing(data: Data) -> Listing:
    """What the recipe's source holds, without reading a pixel."""
    if isinstance(data.source, ImageFolder):
        return sources.imagefolder(data.source.imagefolder)
    if isinstance(data.source, Npz):
        return sources.npz(data.source.npz)
    return sources.digits()


def fingerprint(found: Listing, data: Data) -> str:
    """Changes when a file of the source is added, removed or rewritten (name, size and time of each; the content of an npz)."""
    if isinstance(data.source, ImageFolder):
        stats = [(name, Path(name).stat()) for name in found.names]
        return canonical_hash([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])
    return sha256_file(data.source.npz) if isinstance(data.source, Npz) else found.name


def prepare(found: Listing, data: Data, seed: int, folder: Path) -> dict[str, Any]:
    """Decode the images into `folder`; returns source, classes, number of samples in each split, and the hash of it all."""
    images = imageset.prepare(found, folder, image_size=data.image_size, fractions=(data.split.val, data.split.holdout), seed=seed)
    splits = {name: len(indices) for name, indices in images.indices.items()}
    return {"source": images.source, "classes": images.classes, "splits": splits, "image_size": data.image_size, "sha256": images.sha256}
