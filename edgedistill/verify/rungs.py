"""The rungs of the ladder that PyTorch runs: teacher, control, student, fake-quant, converted and integer."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule

from edgedistill.files import write_arrays
from edgedistill.rows import writing
from edgedistill.signature import Signature
from edgedistill.tasks.data import Dataset, sizes_of
from edgedistill.tasks.modules import BATCH, predict_samples
from edgedistill.verify.integer import IntegerReference
from edgedistill.verify.reference import Reference
from edgedistill.verify.stored import RUNGS, SIZES


def score(
    rungs: Mapping[str, nn.Module], data: Dataset, signature: Signature, split: str, folder: Path, *, batched: bool
) -> dict[str, dict[str, np.ndarray]]:
    """What each rung gives for the samples of `split`, [N, ...] by rung and output; also saved in `folder`, see `stored.RUNGS`.

    batched: whether a rung takes several samples at once.
    """
    outputs = {}
    for name, rung in rungs.items():
        outputs[name] = predict_samples(rung, data, data.indices[split], signature.forward, BATCH if batched else 1)
        write_arrays(folder / RUNGS / name, outputs[name])
    return outputs


def save_samples(data: Dataset, split: str, signature: Signature, folder: Path) -> None:
    """Write the samples of `split` as runtimes get them: NAME.npy [N, ...] for each input, a part at a time.

    Their sizes, where they differ, are beside them; see `stored.sizes_of`.
    """
    indices = data.indices[split]
    first = data.inputs(indices[:1])
    with ExitStack() as files:
        write = {
            name: files.enter_context(writing(folder / f"{name}.npy", part.dtype, (len(indices), *part.shape[1:])))
            for name, part in first.items()
        }
        for start in range(0, len(indices), BATCH):
            for name, part in data.inputs(indices[start : start + BATCH]).items():
                write[name](part)
    if sizes := sizes_of(data, signature.forward, indices):
        write_arrays(folder / SIZES, sizes)


def references(converted: GraphModule) -> dict[str, nn.Module]:
    """What int8 artifacts are held to: the converted program in float64, and in the integers that kernels compute with."""
    return {"converted": Reference(converted), "integer": IntegerReference(converted)}


def load_converted(path: Path) -> GraphModule:
    """The converted program that was saved to `path`; `student-reference.pt2` takes batches of any size."""
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the operators that the file names

    # The guards of an exported module would refuse another batch size than that of the file.
    return torch.export.load(path).module(check_guards=False)
