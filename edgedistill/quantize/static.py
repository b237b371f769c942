"""Post-training quantization: ranges of activations from images, without training."""

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule

from edgedistill.quantize.relu6 import hide_relu6, show_relu6
from edgedistill.quantize.scheme import exported, xnnpack_quantizer

_BATCH = 32


def calibrate(model: nn.Module, images: np.ndarray) -> GraphModule:
    """`model` (float, plain batch norm; see `rewrite.plain_batchnorm`) with observers that have seen `images`, for `state.convert`.

    images: uint8 [N, 3, S, S]. The scheme is that of `scheme.xnnpack_quantizer`. Ranges of activations are those of a histogram with the
    least squared error after rounding, which cuts off rare extremes (Nagel et al. 2021, arXiv 2106.08295, section 3.2). Batch norms behind
    convolutions are folded into them.
    """
    from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

    graph = exported(model, images.shape[-1])
    hidden = hide_relu6(graph)
    prepared = prepare_pt2e(graph, xnnpack_quantizer(is_qat=False))
    show_relu6(prepared, hidden)
    with torch.no_grad():
        for start in range(0, len(images), _BATCH):
            prepared(torch.from_numpy(np.array(images[start : start + _BATCH])).float().div_(255))
    return prepared
