"""The steps before training: images from the recipe's source, and a fingerprint that tells when they changed."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.errors import UserError
from edgedistill.files import sha256_file
from edgedistill.tasks.data import SET, Watch
from edgedistill.tasks.image_classification import hub, imageset, shards, sources
from edgedistill.tasks.image_classification.encoded import Encoded
from edgedistill.tasks.image_classification.recipe.data import Csv, Data, HuggingFace, ImageFolder, Images, Npz, WebDataset
from edgedistill.tasks.image_classification.sources import Listing


def listing(data: Data) -> Listing:
    """What the recipe's sources hold, without reading a pixel; with several of them `set` is a field of the samples."""
    members = data.members
    found = [_whole(data), *(_of(member.part.source, 1) for member in members[1:])]
    if not data.several:
        return found[0]
    if SET in (named := [name for one in found for name in one.fields]):
        raise UserError(f"data.sets: found the field {SET} in the data ({', '.join(dict.fromkeys(named))}), expected another name for it")
    sets = ({SET: np.full(len(one.labels), member.name)} for member, one in zip(members, found, strict=True))
    return sources.joined([replace(one, fields=one.fields | own) for one, own in zip(found, sets, strict=True)])


def _of(source: Any, least: int) -> Listing:
    """The samples of one source. least: fewest classes that it has."""
    match source:
        case ImageFolder():
            return sources.imagefolder(source.imagefolder, least)
        case Images():
            return sources.unlabelled(source.images)
        case Npz():
            return sources.npz(source.npz, least)
        case Csv():
            return sources.table(source.csv, image=source.image, label=source.label, split=source.split, least=least)
        case HuggingFace():
            return hub.huggingface(source.hf, image=source.image, label=source.label)
        case WebDataset():
            return shards.webdataset(source.webdataset, least)
        case _:
            return sources.digits()


def fingerprint(listed: Callable[[], Listing], data: Data) -> str:
    """Changes when a file of a source is added, removed or rewritten (name, size and time of each; the content of an npz or csv).

    listed: gives the listing of `data`, which takes minutes for many shards, and is not asked where their files tell enough.
    """
    own = _fingerprint(listed if not data.several else lambda: _whole(data), data.source, data.unlabelled)
    if not data.several:
        return own
    others = data.members[1:]
    parts = [(one.name, _fingerprint(lambda one=one: _of(one.part.source, 1), one.part.source)) for one in others]  # type: ignore[misc]
    return hashlib.sha256(_compact([own, parts])).hexdigest()


def _whole(data: Data) -> Listing:
    """What `data.source` alone holds, with the images of `data.unlabelled`."""
    found = _of(data.source, 2)
    return found if data.unlabelled is None else sources.with_unlabelled(found, data.unlabelled)


def _fingerprint(listed: Callable[[], Listing], source: Any, unlabelled: Path | None = None) -> str:
    content = [sha256_file(path) for key in ("npz", "csv") if (path := getattr(source, key, None)) is not None]
    files: Iterable[Path]
    if isinstance(source, WebDataset):
        name, version, files = f"webdataset: {source.webdataset}", "", shards.shards(source.webdataset)
        if unlabelled is not None:
            files = [*files, *map(Path, sources.paths_in(unlabelled, "data.unlabelled"))]
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
    main, *further = data.members
    how = {"image_size": data.image_size, "resize": data.resize, "fractions": main.fractions, "seed": seed, "watch": watch}
    images = imageset.prepare(samples, folder, further=further, **how)  # type: ignore[arg-type]
    facts = {"source": images.source, "classes": images.classes, "image_size": data.image_size, "sha256": images.sha256}
    return facts | {
        "warnings": images.warnings,
        "encoded": isinstance(images.images, Encoded),
        "splits": {name: len(indices) for name, indices in images.indices.items()},
        "unlabelled": int((images.labels < 0).sum()),
    }
