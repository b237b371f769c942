"""The signal cache: a teacher's logits for every training sample and view, computed once and memory-mapped."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgedistill.errors import UserError
from edgedistill.files import canonical_hash, replacing, write_json
from edgedistill.progress import track
from edgedistill.teach.imageset import ImageSet
from edgedistill.teach.views import Views


@dataclass(frozen=True)
class TeacherSignals:
    """Logits float32 [views][N, classes], memory-mapped; rows of samples outside the training split are NaN."""

    logits: list[np.ndarray]

    def batch(self, indices: np.ndarray, view: int) -> torch.Tensor:
        """The teacher's logits [B, classes] for view `view` of the samples `indices` [B]."""
        return torch.from_numpy(np.array(self.logits[view][indices]))


def signal_key(*, teacher: str, data: str, preprocessing: dict, augment: dict, seed: int) -> str:
    """The name under which signals are cached: any change of what the teacher saw gives another.

    teacher: hash of its weights. data: hash of every sample and its split. preprocessing: size, mean and std.
    A view's number is in the file's name, so that more views extend a cache instead of replacing it.
    """
    return canonical_hash({"teacher": teacher, "data": data, "preprocessing": preprocessing, "augment": augment, "seed": seed})[:32]


def compute(teacher: nn.Module, data: ImageSet, views: Views, count: int, folder: Path, *, batch_size: int) -> TeacherSignals:
    """Fill `folder` with `count` views' logits of `teacher` (in evaluation mode); finished views are kept.

    Raises UserError when the teacher answers NaN or infinity, naming the view.
    """
    train = data.indices["train"]
    paths = [folder / f"view-{view}.npy" for view in range(count)]
    missing = [view for view in range(count) if not paths[view].exists()]
    if missing:
        write_json(folder / "signals.json", {"classes": data.classes, "samples": len(data.labels), "data": data.sha256})
        with track("teacher signals", len(missing) * len(train)) as progress:
            for view in missing:
                logits = np.full((len(data.labels), len(data.classes)), np.nan, np.float32)
                for start in range(0, len(train), batch_size):
                    batch = train[start : start + batch_size]
                    with torch.no_grad():
                        logits[batch] = teacher(views.batch(batch, view)).numpy()
                    progress.advance(len(batch))
                if not np.isfinite(logits[train]).all():
                    raise UserError(f"the teacher answered NaN or infinity in view {view}; check its checkpoint, mean and std")
                with replacing(paths[view]) as temporary:
                    np.save(temporary, logits)
    return TeacherSignals([np.load(path, mmap_mode="r") for path in paths])
