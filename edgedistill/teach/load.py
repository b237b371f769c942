"""The steps before training: images from the recipe's source, and a fingerprint that tells when they changed."""

from pathlib import Path
from typing import Any

from edgedistill.files import canonical_hash, sha256_file
from edgedistill.recipe.data import Csv, Data, ImageFolder, Npz
from edgedistill.teach import imageset, sources
from edgedistill.teach.sources import Listing


def listing(data: Data) -> Listing:
    """What the recipe's source holds, without reading a pixel."""
    match data.source:
        case ImageFolder():
            found = sources.imagefolder(data.source.imagefolder)
        case Npz():
            found = sources.npz(data.source.npz)
        case Csv():
            found = sources.table(data.source.csv, image=data.source.image, label=data.source.label, split=data.source.split)
        case _:
            found = sources.digits()
    return found if data.unlabelled is None else sources.with_unlabelled(found, data.unlabelled)


def fingerprint(found: Listing, data: Data) -> str:
    """Changes when a file of the source is added, removed or rewritten (name, size and time of each; the content of an npz or csv)."""
    content = [sha256_file(path) for key in ("npz", "csv") if (path := getattr(data.source, key, None)) is not None]
    # Names of samples that are files of their own; those of the embedded digits and of an npz are none.
    files = [(name, Path(name)) for name in found.names if not isinstance(data.source, (Npz, str)) or data.unlabelled is not None]
    stats = [(name, path.stat()) for name, path in files if path.is_file()]
    return canonical_hash([found.name, content, [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]])


def prepare(found: Listing, data: Data, seed: int, folder: Path) -> dict[str, Any]:
    """Decode the images into `folder`; returns source, classes, number of samples in each split, and the hash of it all."""
    images = imageset.prepare(found, folder, image_size=data.image_size, fractions=(data.split.val, data.split.holdout), seed=seed)
    facts = {"source": images.source, "classes": images.classes, "image_size": data.image_size, "sha256": images.sha256}
    return facts | {
        "splits": {name: len(indices) for name, indices in images.indices.items()},
        "unlabelled": int((images.labels < 0).sum()),
    }
