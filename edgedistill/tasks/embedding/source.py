"""The texts of a recipe, without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedistill.files import sha256_tree
from edgedistill.tasks.data import Watch
from edgedistill.tasks.embedding.task import EmbeddingFacts, bits_of
from edgedistill.tasks.text.dataset import seen_in_train
from edgedistill.tasks.text.source import TextSource


class Texts(TextSource):
    """What the data part of a recipe names, see `TextSource`."""

    def prepare(self, folder: Path, seed: int, watch: Watch | None = None) -> EmbeddingFacts:
        """Write tokens and splits into `folder`. Raises UserError that names the rows without a text."""
        split = self.splits()
        # As texts of one class: a split that the data lack is drawn from their training texts.
        split = self.divided(split, seed, np.zeros(len(split), np.int64), ["text"])
        split = self.watched(split, watch)
        known = self.write(split, folder, watch)
        used = bits_of(seen_in_train(folder, split, known["vocabulary"]))
        facts = EmbeddingFacts(**known, sha256=sha256_tree(folder), used=used)
        facts.write(folder)
        return facts
