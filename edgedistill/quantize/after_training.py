"""The quantized state of a trained student, in five ways that need samples and no labels."""

from collections.abc import Iterable
from functools import partial

from torch import Tensor, nn

from edgedistill.quantize.reconstruct import float_twin, reconstruct
from edgedistill.quantize.rewrite import plain_batchnorm
from edgedistill.quantize.state import QuantizedState, convert
from edgedistill.quantize.static import calibrate
from edgedistill.quantize.tune import tuned
from edgedistill.signature import Signature

WAYS = ("static", "equalized", "corrected", "rounded", "tuned")
"""Each of the first four does what those before it do: calibrate ranges, equalise channels, correct biases, fit the rounding of weights.
The last fits all at once to the outputs."""


def quantized(
    model: nn.Module, signature: Signature, batches: Iterable[tuple[Tensor, ...]], way: str, *, any_batch: bool = True
) -> QuantizedState:
    """`model` in int8, with ranges from `batches`.

    batches: each holds the inputs of `signature` in their order. They are read once, and kept in memory unless `way` is static.
    way: one of `WAYS`; see `static.calibrate`, `equalize.equalize`, `reconstruct.reconstruct` and `tune.tuned`. Raises ValueError for
    another.
    any_batch: as of `scheme.exported`.
    """
    if way not in WAYS:
        raise ValueError(f"found the way {way}, expected one of {', '.join(WAYS)}")
    if way == "static":
        return convert(calibrate(plain_batchnorm(model), signature, batches, any_batch=any_batch), signature)
    shown = list(batches)
    if way == "tuned":
        return convert(tuned(plain_batchnorm(model), signature, shown, any_batch=any_batch), signature)
    observed = calibrate(plain_batchnorm(model), signature, shown, any_batch=any_batch, equalized=True)
    if way == "equalized":
        return convert(observed, signature)
    fit = partial(reconstruct, reference=float_twin(observed), batches=shown, rounding=way == "rounded")
    return convert(observed, signature, fit=fit)
