"""Post-training quantization: ranges of activations from samples, without training."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgedistill.quantize.equalize import equalize
from edgedistill.quantize.relu6 import hide_relu6, show_relu6
from edgedistill.quantize.scheme import exported, xnnpack_quantizer
from edgedistill.signature import Signature


def calibrate(
    model: nn.Module, signature: Signature, batches: Iterable[tuple[Tensor, ...]], *, any_batch: bool = True, equalized: bool = False
) -> GraphModule:
    """`model` (float, plain batch norm; see `rewrite.plain_batchnorm`) with observers that saw `batches`, for `state.convert`.

    batches: each holds the inputs of `signature` in their order. any_batch: as of `scheme.exported`.
    equalized: scale channels before, see `equalize`; `batches` are then read twice.

    The scheme is that of `scheme.xnnpack_quantizer`. The range of an activation minimises the squared error of a histogram after
    rounding, which cuts off rare extremes (Nagel et al. 2021, arXiv 2106.08295, section 3.2). Batch norms behind convolutions are folded
    into them.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    graph = exported(model, signature, any_batch=any_batch)
    if equalized:
        equalize(graph, batches)
    hidden = hide_relu6(graph)
    prepared = prepare_pt2e(graph, xnnpack_quantizer(graph, is_qat=False))
    show_relu6(prepared, hidden)
    with torch.no_grad():
        for batch in batches:
            prepared(*batch)
    return prepared
