"""The rungs of the ladder that PyTorch runs: teacher, control, student, fake-quant and converted."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgedistill.tasks.image_classification import predict
from edgedistill.teach.imageset import ImageSet
from edgedistill.verify.reference import Reference


def score(rungs: dict[str, nn.Module], data: ImageSet, split: str, folder: Path) -> None:
    """Save the images of `split` as the runtimes get them, `SPLIT.npy`, and each rung's logits, `RUNG.npy`.

    Images: float32 [N, 3, S, S] in 0..1. Logits: float32 [N, classes].
    """
    chosen = data.images[data.indices[split]]
    np.save(folder / f"{split}.npy", chosen.astype(np.float32) / np.float32(255))
    for name, rung in rungs.items():
        np.save(folder / f"{name}.npy", predict(rung, chosen))


def load_converted(path: Path) -> nn.Module:
    """The converted program that was saved to `path`, evaluated in float64; see `reference`."""
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the operators that the file names

    # The guards of an exported module would refuse another batch size than that of the file.
    return Reference(torch.export.load(path).module(check_guards=False))
