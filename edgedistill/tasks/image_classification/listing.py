"""The steps before training: images from the recipe's source, and a fingerprint that tells when they changed."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edgedistill.files import sha256_file
from edgedistill.tasks.data import Watch
from edgedistill.tasks.image_classification import hub, imageset, shards, sources
from edgedistill.tasks.image_classification.encoded import Encoded
from edgedistill.tasks.image_classification.recipe.data import Csv, Data, HuggingFace, ImageFolder, Images, Npz, WebDataset
from edgedistill.tasks.image_classification.sources import Listing


def listing(data: Data) -> Listing:
    """What the recipe's source holds, without reading a pixel."""
    match data.source:
        case ImageFolder():
            samples = sources.imagefolder(data.source.imagefolder)
        case Images():
            samples = sources.unlabelled(data.source.images)
        case Npz():
            samples = sources.npz(data.source.npz)
        case Csv():
            samples = sources.table(data.source.csv, image=data.source.image, label=data.source.label, split=data.source.split)
        case HuggingFace():
            samples = hub.huggingface(data.source.hf, image=data.source.image, label=data.source.label)
        case WebDataset():
            samples = shards.webdataset(data.source.webdataset)
        case _:
            samples = sources.digits()
    return samples if data.unlabelled is None else sources.with_unlabelled(samples, data.unlabelled)


def fingerprint(listed: Callable[[], Listing], data: Data) -> str:
    """Changes when a file of the source is added, removed or rewritten (name, size and time of each; the content of an npz or csv).

    listed: gives the listing of `data`, which takes minutes for many shards, and is not asked where their files tell enough.
    """
    content = [sha256_file(path) for key in ("npz", "csv") if (path := getattr(data.source, key, None)) is not None]
    files: Iterable[Path]
    if isinstance(data.source, WebDataset):
        name, version, files = f"webdataset: {data.source.webdataset}", "", shards.shards(data.source.webdataset)
        if data.unlabelled is not None:
            files = [*files, *map(Path, sources.paths_in(data.unlabelled, "data.unlabelled"))]
    else:
        samples = listed()
        name, version, files = samples.name, samples.version, map(Path, samples.names)
    # As `canonical_hash` of it all, without a list of all files. Samples of some sources are no files, but those of `data.unlabelled`
    # beside them are.
    digest = hashlib.sha256(_compact([name, version, content])[:-1] + b",[")
    comma = b""
    for path in files:
        if path.is_file():
            stat = path.stat()
            digest.update(comma + _compact([str(path), stat.st_size, stat.st_mtime_ns]))
            comma = b","
    digest.update(b"]]")
    return digest.hexdigest()


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def prepare(samples: Listing, data: Data, seed: int, folder: Path, watch: Watch | None = None) -> dict[str, Any]:
    """Decode the images into `folder`; returns source, classes, number of samples in each split, and the hash of it all."""
    fractions = (data.split.val, data.split.holdout)
    how = {"image_size": data.image_size, "resize": data.resize, "fractions": fractions, "seed": seed, "watch": watch}
    images = imageset.prepare(samples, folder, **how)  # type: ignore[arg-type]
    facts = {"source": images.source, "classes": images.classes, "image_size": data.image_size, "sha256": images.sha256}
    return facts | {
        "warnings": images.warnings,
        "encoded": isinstance(images.images, Encoded),
        "splits": {name: len(indices) for name, indices in images.indices.items()},
        "unlabelled": int((images.labels < 0).sum()),
    }
