"""The steps before training: images from the recipe's source, and a fingerprint that tells when they changed."""

from pathlib import Path
from typing import Any

from edgedistill.files import canonical_hash, sha256_file
from edgedistill.tasks.image_classification import hub, imageset, shards, sources
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


def fingerprint(samples: Listing, data: Data) -> str:
    """Changes when a file of the source is added, removed or rewritten (name, size and time of each; the content of an npz or csv)."""
    content = [sha256_file(path) for key in ("npz", "csv") if (path := getattr(data.source, key, None)) is not None]
    files = [Path(name) for name in samples.names]
    if isinstance(data.source, WebDataset):
        files = shards.shards(data.source.webdataset)
    # Samples of the other sources are no files, but those of `data.unlabelled` beside them are.
    stats = [(path, path.stat()) for path in files if path.is_file()]
    return canonical_hash([samples.name, samples.version, content, [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in stats]])


def prepare(samples: Listing, data: Data, seed: int, folder: Path) -> dict[str, Any]:
    """Decode the images into `folder`; returns source, classes, number of samples in each split, and the hash of it all."""
    images = imageset.prepare(samples, folder, image_size=data.image_size, fractions=(data.split.val, data.split.holdout), seed=seed)
    facts = {"source": images.source, "classes": images.classes, "image_size": data.image_size, "sha256": images.sha256}
    return facts | {
        "warnings": images.warnings,
        "splits": {name: len(indices) for name, indices in images.indices.items()},
        "unlabelled": int((images.labels < 0).sum()),
    }
