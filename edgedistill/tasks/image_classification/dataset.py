"""The images of a run as its steps take them: a source that is prepared once, and a dataset that is read from its folder."""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from edgedistill.recipe.data import MAIN
from edgedistill.tasks.data import SET, Batch, Taught, Watch
from edgedistill.tasks.image_classification import listing
from edgedistill.tasks.image_classification.encoded import Encoded
from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.tasks.image_classification.models import to_unit
from edgedistill.tasks.image_classification.recipe.data import Augment, Data, WebDataset
from edgedistill.tasks.image_classification.sources import Listing
from edgedistill.tasks.image_classification.task import ImageFacts
from edgedistill.tasks.image_classification.views import Views


class ImageSource:
    """What the data part of a recipe names, listed without reading a pixel; tar files only where they are to be read, or changed."""

    def __init__(self, data: Data) -> None:
        self.data = data
        if not self._shards:
            _ = self.listing

    @cached_property
    def listing(self) -> Listing:
        """What there is."""
        return listing.listing(self.data)

    @property
    def fingerprint(self) -> str:
        """Changes when a file is added, removed or rewritten."""
        return listing.fingerprint(lambda: self.listing, self.data)

    def prepare(self, folder: Path, seed: int, watch: Watch | None = None) -> ImageFacts:
        """Decode the images into `folder`."""
        return ImageFacts.model_validate(listing.prepare(self.listing, self.data, seed, folder, watch))

    def taught(self) -> Iterator[Taught]:
        """Each image by the bytes of its file; by its pixels where it is no file."""
        sets = self.listing.fields.get(SET) if self.data.several else None
        for place in range(len(self.listing.labels)):
            own = MAIN if sets is None else str(sets[place])
            # To name an image in a shard reads the shard.
            path = None if own in self._shards else Path(self.listing.names[place])
            content = path.read_bytes() if path is not None and path.is_file() else np.asarray(self.listing.read(place)).tobytes()
            yield Taught(place, content, "{}" if sets is None else json.dumps({"set": own}))

    @property
    def _shards(self) -> set[str]:
        """The members of the data that are tar files."""
        return {member.name for member in self.data.members if isinstance(member.part.source, WebDataset)}


class ImageDataset:
    """The images that `ImageSource.prepare` wrote. Input `image`, target `logits`: the number of the label, -1 for none."""

    def __init__(self, images: ImageSet, augment: Augment, seed: int) -> None:
        self.images = images
        size = images.images.shape[-1]
        splits = {name: len(indices) for name, indices in images.indices.items()}
        unlabelled = int((images.labels < 0).sum())
        self.facts = ImageFacts(
            warnings=images.warnings,
            source=images.source,
            sha256=images.sha256,
            splits=splits,
            classes=images.classes,
            image_size=size,
            unlabelled=unlabelled,
            encoded=isinstance(images.images, Encoded),
        )
        self.indices: Mapping[str, np.ndarray] = images.indices
        self._augment, self._seed = augment, seed

    def __len__(self) -> int:
        return len(self.images.labels)

    @property
    def has_target(self) -> np.ndarray:
        """Whether each image has a label, bool [N]."""
        return self.images.labels >= 0

    @property
    def fields(self) -> Mapping[str, np.ndarray]:
        """Further facts of each image, [N], by name."""
        return self.images.fields

    def batch(self, indices: np.ndarray, view: int | None, *, keep: bool = True) -> Batch:
        """The images `indices` [B] as view `view` shows them, float32 [B, 3, S, S] in 0..1, with their labels, int64 [B]."""
        image = to_unit(self.images.images[indices]) if view is None else self._views.batch(indices, view, keep=keep)
        return Batch({"image": image}, {"logits": torch.from_numpy(self.images.labels[indices])})

    @cached_property
    def _views(self) -> Views:
        return Views(self.images.images, self._augment, self._seed, self.images.folder)

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The images as programs take them, float32 [B, 3, S, S] in 0..1."""
        return {"image": self.images.images[indices].astype(np.float32) / np.float32(255)}

    def targets(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The labels int64 [B]; none where the images have no classes."""
        return {"logits": self.images.labels[indices]} if self.images.classes else {}
