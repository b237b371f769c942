"""The quantized state of a student whose training did not quantize: ranges from training samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill import tasks, threads
from edgedistill.progress import log
from edgedistill.tasks.data import spread

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.quantize.state import QuantizedState
    from edgedistill.recipe.schema import Recipe
    from edgedistill.signature import Signature
    from edgedistill.tasks.data import Dataset

_BATCH = 32


def calibration_samples(recipe: Recipe, data: Dataset) -> np.ndarray:
    """Numbers of the training samples that show ranges of activations, spread evenly."""
    train = data.indices["train"]
    shown = train[spread(len(train), recipe.quantize.calibration)]
    log(f"calibrating on {len(shown)} {tasks.task(recipe.task).words.samples}")
    return shown


def calibrated(
    student: nn.Module, recipe: Recipe, data: Dataset, signature: Signature, way: str, *, batched: bool
) -> QuantizedState | None:
    """The quantized state of a trained `student`, with ranges from the recipe's number of training samples.

    way: one of `after_training.WAYS`, or none, which gives None. batched: whether it takes several samples at once.
    """
    if way == "none":
        return None
    from edgedistill.quantize.after_training import quantized
    from edgedistill.quantize.scheme import traceable
    from edgedistill.tasks.modules import batches, in_order

    shown, size = calibration_samples(recipe, data), _BATCH if batched else 1
    ordered = in_order(batches(data, shown, size), signature.forward)
    counted = calibration_threads(recipe, data, student, signature, shown[:size])
    with traceable(recipe.student.label), threads.using(counted):
        return quantized(student, signature, ordered, way, any_batch=batched)


def calibration_threads(recipe: Recipe, data: Dataset, student: nn.Module, signature: Signature, first: np.ndarray) -> int:
    """Threads for what runs `student`, timed on the samples `first`."""
    import torch

    from edgedistill.tasks.modules import forward

    inputs = data.batch(first, None).inputs

    def probe() -> None:
        with torch.no_grad():
            forward(student, inputs, signature.forward)

    return threads.chosen("calibration", probe, asked=recipe.threads)
