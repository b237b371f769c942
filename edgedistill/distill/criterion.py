"""The weighted sum of a stage's losses, with what the losses themselves learn."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.distill.formulas import Compared, Signals
from edgedistill.recipe.losses import Loss, Losses, scheduled_value
from edgedistill.tasks.data import Batch


class Criterion(nn.Module):
    """The losses of a model's stages; its parameters are what losses learn, such as projectors between features.

    stages: their losses. student, teacher: signals of any batch, for their shapes; samples: number of training samples.
    """

    def __init__(self, stages: list[Losses], student: Signals, teacher: Signals, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.projectors = nn.ModuleDict()
        prepared = set()
        for used in stages:
            for name, loss in used.used().items():
                # Once for all stages that use the loss, unless it learns nothing.
                if loss.prepares is not None and name not in prepared:
                    made = _function(loss.prepares)(loss, student, teacher)
                    self.projectors.update({f"{name}{part}": module for part, module in made.items()})
                    prepared |= {name} if made else set()

    def forward(
        self, used: Losses, student: Signals, batch: Batch, teacher: Signals, fraction: float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each loss by name, unweighted and detached.

        batch: its targets and mask; a loss that needs targets leaves out positions without one. teacher: its signals, empty where no loss
        needs them. fraction: share of the stage's steps that is done, for what is scheduled.
        """
        values = {}
        weighted = []
        for name, loss in used.used().items():
            value = self._value(name, loss, student, batch, teacher, fraction)
            values[name] = value.detach()
            weighted.append(scheduled_value(loss.weight, fraction) * value)
        return torch.stack(weighted).sum(), values

    def _value(self, name: str, loss: Loss, student: Signals, batch: Batch, teacher: Signals, fraction: float) -> Tensor:
        compared, target = loss.target or loss.signal, None
        counts = batch.mask.get(compared)
        if loss.needs_targets:
            target = batch.targets[compared]
            counts = _known(target, counts)
        if counts is not None and not counts.any():
            # 0 and connected to the student, instead of the mean of nothing.
            return student[loss.signal].sum() * 0
        ours, theirs = (_rows(signals, loss.places, counts) for signals in (student, teacher))
        if target is not None and counts is not None and (counts.ndim > 1 or not counts.all()):
            target = target[counts]
        return _function(loss.formula)(loss, Compared(ours, theirs, target, fraction, self.projectors, name, self.samples))


def _rows(signals: Signals, places: frozenset[str], counts: Tensor | None) -> dict[str, Tensor]:
    """The signals at the positions that count: those in `places` as rows [n, ...], and of the samples where positions are samples."""
    if counts is None:
        return {name: signal.flatten(0, -2) if name in places and signal.ndim > 2 else signal for name, signal in signals.items()}
    if counts.ndim == 1:
        return dict(signals) if counts.all() else {name: signal[counts] for name, signal in signals.items()}
    return {name: signal[counts] if name in places else signal for name, signal in signals.items()}


def _known(target: Tensor, mask: Tensor | None) -> Tensor:
    """Which positions have a target and count, bool [B] or [B, T]: whole numbers from 0 on name classes, other numbers have no NaN."""
    if target.is_floating_point():
        known = target.isfinite()
        known = known.flatten(1).all(dim=1) if mask is None else known.flatten(mask.ndim).all(dim=-1) if known.ndim > mask.ndim else known
    else:
        known = target >= 0
    return known if mask is None else known & mask


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
