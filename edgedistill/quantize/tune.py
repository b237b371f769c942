"""Fits a quantized program to the float model as a whole, from samples without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgedistill.progress import track
from edgedistill.quantize.qat import QATModule, prepare_qat
from edgedistill.signature import Signature

_STEPS, _RATE = 400, 5e-4
_MIXED = 0.5
"""Share of the samples of a step that are mixed with others."""


def tuned(model: nn.Module, signature: Signature, batches: Sequence[tuple[Tensor, ...]], *, any_batch: bool = True) -> GraphModule:
    """`model` (float, plain batch norm) with fake quantization, whose weights, biases and ranges learned to give its outputs.

    batches: each holds the inputs of `signature` in their order. any_batch: as of `scheme.exported`.

    The float model teaches its own quantized form (Hinton et al. 2015, arXiv 1503.02531), so that no labels are needed: the loss is the
    mean squared error of each output, in parts of its variance. Few samples are learned by heart; a half of them is mixed with others
    (mixup, Zhang et al. 2018, arXiv 1710.09412), and the model answers the mixture. Ranges are learned, see `learned.LearnedRange`.
    """
    model.eval()
    module = prepare_qat(model, signature, learned=True, any_batch=any_batch)
    variances = _shown(module, model, batches)
    parameters = [parameter.requires_grad_(True) for parameter in module.parameters()]
    optimizer = torch.optim.Adam(parameters, _RATE, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / _STEPS)))
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad(), track("tuning int8", _STEPS) as progress:
        for _ in range(_STEPS):
            inputs = _mixed(batches, generator)
            with torch.no_grad():
                wanted = _outputs(model(*inputs))
            errors = [(a - b).square().mean() / v for a, b, v in zip(_outputs(module(*inputs)), wanted, variances, strict=True)]
            optimizer.zero_grad()
            torch.stack(errors).sum().backward()
            optimizer.step()
            schedule.step()
            progress.advance(1)
    return module.graph_module


def _shown(module: QATModule, model: nn.Module, batches: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    """Show `module` the ranges of its activations, which it learns from then on; returns the variance of each output of `model`."""
    from torchao.quantization.pt2e import enable_observer

    module.freeze(batchnorm=True, observers=False)
    module.eval().graph_module.apply(enable_observer)
    with torch.no_grad():
        for batch in batches:
            module(*batch)
        answers = [_outputs(model(*batch)) for batch in batches]
    module.freeze(batchnorm=True, observers=True)
    # An output that never changes is held to its value all the same.
    return [torch.cat([part.flatten() for part in parts]).var().clamp(min=1e-6) for parts in zip(*answers, strict=True)]


def _outputs(given: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    """The outputs that are not whole numbers."""
    return [value for value in (given if isinstance(given, (tuple, list)) else [given]) if value.is_floating_point()]


def _mixed(batches: Sequence[tuple[Tensor, ...]], generator: torch.Generator) -> tuple[Tensor, ...]:
    """One of the batches, with some of its samples mixed with those of another; whole numbers, such as tokens, are not mixed."""
    first, second = (batches[int(place)] for place in torch.randint(len(batches), (2,), generator=generator))
    if any(a.shape != b.shape or not a.is_floating_point() for a, b in zip(first, second, strict=True)):
        return first
    count = len(first[0])
    shares = torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < _MIXED)
    order = torch.randperm(count, generator=generator)
    return tuple(a + shares.reshape(-1, *[1] * (a.ndim - 1)) * (b[order] - a) for a, b in zip(first, second, strict=True))
