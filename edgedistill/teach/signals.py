"""What the teachers of a recipe say of a training batch, from their caches or asked at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgedistill.tasks.base import Merger, Teacher
from edgedistill.teach.cache import CachedSignals


@dataclass(frozen=True)
class TeacherSignals:
    """The signals of one teacher, or the merged outputs of several.

    cached: of each member, empty where every stage is online. online: the members themselves, empty where none is.
    """

    cached: list[CachedSignals]
    online: list[Teacher]
    merger: Merger | None

    def replayed(self, indices: np.ndarray, view: int) -> dict[str, Tensor]:
        """The signals [B, ...] to view `view` of the samples `indices` [B], from the caches."""
        answers = [member.batch(indices, view) for member in self.cached]
        merged = answers[0] if self.merger is None else self.merger(answers, indices)
        return {name: torch.from_numpy(values) for name, values in merged.items()}

    def asked(self, inputs: Mapping[str, Tensor], indices: np.ndarray) -> dict[str, Tensor]:
        """The signals [B, ...] to `inputs` [B, ...] by name, which come from the samples `indices`."""
        answers = [member(inputs) for member in self.online]
        if self.merger is None:
            return answers[0]
        arrays = [{name: value.cpu().numpy() for name, value in answer.items()} for answer in answers]
        return {name: torch.from_numpy(values) for name, values in self.merger(arrays, indices).items()}
