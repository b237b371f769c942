"""What the teachers of a recipe say of a training batch, from their caches or asked at once."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgedistill.tasks.image_classification.merge import Merger
from edgedistill.teach.cache import CachedSignals
from edgedistill.teach.teachers import Teacher


@dataclass(frozen=True)
class TeacherSignals:
    """The signals of one teacher, or the merged logits of several.

    cached: of each member, empty where every stage is online. online: the members themselves, empty where none is.
    """

    cached: list[CachedSignals]
    online: list[Teacher]
    merger: Merger | None

    def replayed(self, indices: np.ndarray, view: int) -> dict[str, Tensor]:
        """The signals [B, ...] to view `view` of the samples `indices` [B], from the caches."""
        answers = [member.batch(indices, view) for member in self.cached]
        if self.merger is None:
            return {name: torch.from_numpy(values) for name, values in answers[0].items()}
        return self._merged([answer["logits"] for answer in answers], indices)

    def asked(self, images: Tensor, indices: np.ndarray) -> dict[str, Tensor]:
        """The signals [B, ...] to `images` [B, 3, S, S], which come from the samples `indices`."""
        answers = [member(images) for member in self.online]
        return answers[0] if self.merger is None else self._merged([answer["logits"].cpu().numpy() for answer in answers], indices)

    def _merged(self, logits: list[np.ndarray], indices: np.ndarray) -> dict[str, Tensor]:
        assert self.merger is not None
        return {"logits": torch.from_numpy(self.merger(logits, indices))}
