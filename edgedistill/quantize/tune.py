"""Fits a quantized program to the float model as a whole, from samples without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgedistill.errors import UserError
from edgedistill.progress import track
from edgedistill.quantize.learned import LearnedRange
from edgedistill.quantize.qat import QATModule, prepare_qat
from edgedistill.signature import Signature

_STEPS, _RATE = 400, 5e-4
_SAMPLES = 16
"""Samples of a step at least: of batches that are smaller several are taken."""
_MIXED, _GROUP = 0.5, 32
"""Share of the samples of a step that are mixed with others, and samples that have one range together."""


def tuned(model: nn.Module, signature: Signature, batches: Sequence[tuple[Tensor, ...]], *, any_batch: bool = True) -> GraphModule:
    """`model` (float, plain batch norm) with fake quantization, whose weights, biases and ranges learned to give its outputs.

    batches: each holds the inputs of `signature` in their order. any_batch: as of `scheme.exported`.

    The float model teaches its own quantized form (Hinton et al. 2015, arXiv 1503.02531), so that no labels are needed: the loss is the
    mean squared error of each output, in parts of its variance. Few samples are learned by heart; a half of them is mixed with others
    (mixup, Zhang et al. 2018, arXiv 1710.09412), and the model answers the mixture. Ranges are learned, see `learned.LearnedRange`.

    Raises UserError where all outputs are whole numbers.
    """
    model.eval()
    module = prepare_qat(model, signature, learned=True, any_batch=any_batch)
    variances = _shown(module, model, batches)
    if not variances:
        raise UserError("int8-tuned learns outputs of floating-point numbers, and this model gives whole numbers only; take int8-rounded")
    parameters = [parameter.requires_grad_(True) for parameter in module.parameters()]
    optimizer = torch.optim.Adam(parameters, _RATE, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / _STEPS)))
    samples = _Samples(batches)
    parts = max(1, _SAMPLES // samples.count)
    with torch.enable_grad(), track("tuning int8", _STEPS) as progress:
        for _ in range(_STEPS):
            optimizer.zero_grad()
            for _ in range(parts):
                inputs = samples.draw()
                with torch.no_grad():
                    wanted = _outputs(model(*inputs))
                errors = [(a - b).square().mean() / v for a, b, v in zip(_outputs(module(*inputs)), wanted, variances, strict=True)]
                (torch.stack(errors).sum() / parts).backward()
            optimizer.step()
            schedule.step()
            progress.advance(1)
    return module.graph_module


def _shown(module: QATModule, model: nn.Module, batches: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    """Set the ranges of `module`, which it learns from then on; returns the variance of each output of `model`."""
    from torchao.quantization.pt2e import disable_fake_quant, enable_fake_quant, enable_observer

    module.freeze(batchnorm=True, observers=False)
    module.eval().graph_module.apply(enable_observer).apply(disable_fake_quant)
    observed = [_Observed(part, len(batches[0][0])) for part in module.modules() if isinstance(part, LearnedRange)]
    with torch.no_grad():
        for batch in batches:
            module(*batch)
        answers = [_outputs(model(*batch)) for batch in batches]
        for range_ in observed:
            range_.settle()
    module.graph_module.apply(enable_fake_quant)
    module.freeze(batchnorm=True, observers=True)
    # An output that never changes is held to its value all the same.
    return [torch.cat([part.flatten() for part in parts]).var().clamp(min=1e-6) for parts in zip(*answers, strict=True)]


class _Observed:
    """A range that is the mean of those of several groups of samples.

    Those of all samples together are as wide as the rarest value, and those that calibration finds as narrow as the float model bears:
    training does worse from both.
    """

    def __init__(self, range_: LearnedRange, size: int) -> None:
        self.range, self.calls = range_, max(1, _GROUP // size)
        self.lows, self.highs = list[Tensor](), list[Tensor]()
        self.seen = 0
        self.hook = range_.register_forward_pre_hook(self._see)

    def _see(self, range_: nn.Module, given: tuple[Tensor, ...]) -> None:
        bounds = getattr(range_, "bounds", None)
        low, high = (given[0] if bounds is None else given[0].clamp(*bounds)).aminmax()
        if self.seen % self.calls:
            low, high = torch.minimum(low, self.lows.pop()), torch.maximum(high, self.highs.pop())
        self.lows.append(low)
        self.highs.append(high)
        self.seen += 1

    def settle(self) -> None:
        """Put the range in place."""
        self.hook.remove()
        own = self.range.activation_post_process
        own.min_val, own.max_val = torch.stack(self.lows).mean(), torch.stack(self.highs).mean()
        scale, zero_point = own.calculate_qparams()
        self.range.scale.copy_(scale)
        self.range.zero_point.copy_(zero_point)


def _outputs(given: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    """The outputs that are not whole numbers."""
    return [value for value in (given if isinstance(given, (tuple, list)) else [given]) if value.is_floating_point()]


class _Samples:
    """Draws samples from batches, some of them mixed with others; whole numbers, such as tokens, are not mixed."""

    def __init__(self, batches: Sequence[tuple[Tensor, ...]]) -> None:
        self.rows = [tuple(part[row] for part in batch) for batch in batches for row in range(len(batch[0]))]
        first = self.rows[0]
        alike = all(a.shape == b.shape for row in self.rows for a, b in zip(row, first, strict=True))
        self.mixes = alike and all(part.is_floating_point() for part in first)
        # Samples of other sizes cannot stand in one batch.
        self.count = len(batches[0][0]) if alike else 1
        self.generator = torch.Generator().manual_seed(0)

    def draw(self) -> tuple[Tensor, ...]:
        """As many samples as the first batch has."""
        first, second = (self._some() for _ in range(2))
        if not self.mixes:
            return first
        shares = torch.rand(self.count, generator=self.generator) * (torch.rand(self.count, generator=self.generator) < _MIXED)
        return tuple(a + shares.reshape(-1, *[1] * (a.ndim - 1)) * (b - a) for a, b in zip(first, second, strict=True))

    def _some(self) -> tuple[Tensor, ...]:
        chosen = [self.rows[int(place)] for place in torch.randint(len(self.rows), (self.count,), generator=self.generator)]
        return tuple(torch.stack(parts) for parts in zip(*chosen, strict=True))
