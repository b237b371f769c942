"""What training and calibrating start from: the student as an exported graph, and the quantizer that says where fake quantization goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.fx import GraphModule

from edgedistill.quantize.pooling import pool_by_convolution

if TYPE_CHECKING:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer


def exported(model: nn.Module, image_size: int) -> GraphModule:
    """`model` (plain batch norm; see `rewrite.plain_batchnorm`) as a graph for batches of any size of images [N, 3, S, S]."""
    example = (torch.rand(2, 3, image_size, image_size),)
    batch = torch.export.Dim("batch", min=1, max=4096)
    # Exported in evaluation form: in training form every batch norm would drag its batch counter into the graph.
    program = torch.export.export(model.eval(), example, dynamic_shapes=({0: batch},))
    graph = program.module()
    pool_by_convolution(graph)
    return graph


def xnnpack_quantizer(*, is_qat: bool) -> XNNPACKQuantizer:
    """int8 per-channel symmetric weights, int8 per-tensor asymmetric activations.

    The scheme that XNNPACK, LiteRT, ONNX Runtime and Core ML all execute: Jacob et al. 2018 (arXiv 1712.05877).
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

    return XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_qat=is_qat))
