"""The rungs of the ladder that PyTorch runs: teacher, control, student, fake-quant, converted and integer."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule

from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.tasks.image_classification.models import predict
from edgedistill.verify.integer import IntegerReference
from edgedistill.verify.reference import Reference


def score(rungs: dict[str, nn.Module], data: ImageSet, split: str, folder: Path) -> None:
    """Save the images of `split` as the runtimes get them, `SPLIT.npy`, and each rung's logits, `RUNG.npy`.

    Images: float32 [N, 3, S, S] in 0..1. Logits: float32 [N, classes].
    """
    chosen = data.images[data.indices[split]]
    np.save(folder / f"{split}.npy", chosen.astype(np.float32) / np.float32(255))
    for name, rung in rungs.items():
        np.save(folder / f"{name}.npy", predict(rung, chosen))


def references(converted: GraphModule) -> dict[str, nn.Module]:
    """What int8 artifacts are held to: the converted program in float64, and in the integers that kernels compute with."""
    return {"converted": Reference(converted), "integer": IntegerReference(converted)}


def load_converted(path: Path) -> GraphModule:
    """The converted program that was saved to `path`; `student-reference.pt2` takes batches of any size."""
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the operators that the file names

    # The guards of an exported module would refuse another batch size than that of the file.
    return torch.export.load(path).module(check_guards=False)
