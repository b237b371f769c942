"""The common start of training and calibration: the student as an exported graph, and the quantizer that places fake quantization."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.fx import GraphModule

from edgedistill import storage
from edgedistill.errors import EdgeDistillError, UserError
from edgedistill.quantize.canonical import canonical
from edgedistill.quantize.constants import separate_shared
from edgedistill.quantize.graph import TRANSPOSED, operators
from edgedistill.quantize.pooling import pool_by_convolution
from edgedistill.quantize.trace import trace
from edgedistill.signature import Signature

if TYPE_CHECKING:
    from edgedistill.quantize.quantizer import Quantizer


def exported(model: nn.Module, signature: Signature, *, any_batch: bool = True) -> GraphModule:
    """`model` (plain batch norm; see `rewrite.plain_batchnorm`) as a graph, by default for batches of any size."""
    # Export in evaluation mode: in training mode every batch norm would add its batch counter to the graph.
    graph = trace(model.eval(), signature, any_batch=any_batch).module()
    canonical(graph)
    separate_shared(graph)
    pool_by_convolution(graph)
    return graph


@contextmanager
def traceable(label: str) -> Iterator[None]:
    """One message for whatever torch.export and PT2E meet in the code of a model. Raises UserError, with the model's name `label`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, EdgeDistillError):
            raise
        if full := storage.failure_of(error):
            raise full from error
        raise UserError(f"{label}: torch.export or PT2E can't take the model ({type(error).__name__}: {error})") from error


def xnnpack_quantizer(graph: GraphModule, *, is_qat: bool, learned: bool = False) -> Quantizer:
    """int8 per-channel symmetric weights, int8 per-tensor asymmetric activations, for `graph`.

    learned: training learns the ranges of activations, see `learned.LearnedRange`.

    XNNPACK, LiteRT, ONNX Runtime and Core ML all execute this scheme: Jacob et al. 2018 (arXiv 1712.05877).
    """
    from edgedistill.quantize.quantizer import Quantizer

    quantizer = Quantizer(is_qat=is_qat, learned=learned)
    # Looking for a convolution with batch norm means tracing twelve patterns, 8 s of the 10 s that calibration of a small model took.
    # Before calibration batch norms are folded already.
    norms = is_qat and operators(graph, (torch.ops.aten.batch_norm.default,))
    transposed = norms and operators(graph, TRANSPOSED)
    quantizer.SUPPORTED_PATTERNS = [  # type: ignore[misc]
        pattern
        for pattern in quantizer.SUPPORTED_PATTERNS
        if not pattern.name.endswith(("_bn", "_bn_relu")) or (transposed if "transpose" in pattern.name else norms)
    ]
    return quantizer
