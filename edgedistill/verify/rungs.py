"""The rungs of the ladder that PyTorch runs: teacher, control, student, fake-quant, converted and integer."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule

from edgedistill.signature import Signature
from edgedistill.tasks.data import Dataset
from edgedistill.tasks.modules import batches, predict
from edgedistill.verify.integer import IntegerReference
from edgedistill.verify.reference import Reference


def score(rungs: dict[str, nn.Module], data: Dataset, signature: Signature, split: str, folder: Path) -> None:
    """Save the samples of `split` as the runtimes get them, `SPLIT.npy`, and each rung's output, `RUNG.npy`.

    Samples: the input [N, ...]. Output: [N, ...].
    """
    indices = data.indices[split]
    (sample,) = data.inputs(indices).values()
    np.save(folder / f"{split}.npy", sample)
    for name, rung in rungs.items():
        (output,) = predict(rung, batches(data, indices), signature.forward).values()
        np.save(folder / f"{name}.npy", output)


def references(converted: GraphModule) -> dict[str, nn.Module]:
    """What int8 artifacts are held to: the converted program in float64, and in the integers that kernels compute with."""
    return {"converted": Reference(converted), "integer": IntegerReference(converted)}


def load_converted(path: Path) -> GraphModule:
    """The converted program that was saved to `path`; `student-reference.pt2` takes batches of any size."""
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the operators that the file names

    # The guards of an exported module would refuse another batch size than that of the file.
    return torch.export.load(path).module(check_guards=False)
