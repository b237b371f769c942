"""Whether two sets of outputs come from the same program: rules on differences, counted in steps of the output scale."""

import math

import numpy as np

from edgedistill.records import Comparison

FLOAT_LIMITS = {"fp32": 1e-4, "fp16": 1e-2}
"""Largest difference of a floating-point artifact from its module, as a share of the largest output, by precision."""
DYNAMIC_LIMIT = 1e-2
"""The same of an artifact whose activations are rounded as they come: where two sums differ in their last bits, some round another way."""
ROUNDING_LIMIT = 0.7
"""RMS difference of such an artifact over that of rounding, up to which both round alike: of independent roundings it is 1.4."""
INT16_LIMIT = 2e-3
"""The same with 16-bit activations: 65 of the 32767 steps that the largest output has, since steps off by one add up over the layers."""
UNQUANTIZED_LIMIT = 3e-2
"""The same of an output of an int8 program that is not quantized."""
LSB_LIMIT = 2.0
"""Difference, in steps, within which outputs of an int8 artifact have to be."""
_SHARE = 0.995
MEAN_LIMIT = 0.3
"""Largest mean difference of an int8 artifact from its reference, in steps of the output."""
_FLIP_SHARE = 0.003
_CONSTANT = 0.05
_WHOLE_SHARES = (0.005, 0.05)
"""Share of samples whose whole numbers, such as places of maxima, may differ: of fp32 files, and of others."""
# Dequantized values are multiples of the scale up to float32 rounding; two of them differ by a whole number of steps.
_ROUNDING = 1e-3


def quantized_parity(a: np.ndarray, b: np.ndarray, lsb: float, flips: int | None = None) -> Comparison:
    """Compare outputs [N, ...] of two executions of one int8 program.

    lsb: the scale of the output. flips: samples for which another decision is made, None where nothing is decided. The rule: at least 99.5%
    of the outputs within 2 LSB, a mean difference of at most 0.3 LSB (`close`), and at most max(2, 0.3% of N) flips. Decisions alone would
    hide errors.
    """
    rule = f"<= {LSB_LIMIT:g} LSB on >= {_SHARE:.1%} of outputs, mean <= {MEAN_LIMIT:g} LSB"
    rule += f", flips <= max(2, {_FLIP_SHARE:.1%} of samples)" if flips is not None else ""
    if reason := _incomparable(a, b):
        return Comparison(ok=False, reason=reason, rule=rule, n=len(a))
    steps = np.abs(_less(a, b)) / lsb
    whole = steps.round()
    steps = np.where(np.abs(steps - whole) <= _ROUNDING, whole, steps)
    within = float((steps <= LSB_LIMIT).mean())
    mean = float(steps.mean())
    close = within >= _SHARE and mean <= MEAN_LIMIT
    return Comparison(
        ok=close and (flips is None or flips <= _flip_limit(len(a))),
        close=close,
        max_lsb=float(steps.max()),
        mean_lsb=mean,
        within_1_lsb=float((steps <= 1).mean()),
        within_2_lsb=within,
        exact=float((steps == 0).mean()),
        flips=flips,
        n=len(a),
        rule=rule,
    )


def float_parity(a: np.ndarray, reference: np.ndarray, *, relative_limit: float, flips: int | None = None) -> Comparison:
    """Compare outputs [N, ...] of a float artifact with those of the module that it was lowered from.

    relative_limit: the largest difference allowed, as a share of the reference's largest output (by magnitude), or of its range where that
    is less. An output that hardly varies is held to a twentieth of its magnitude at the strictest, since nothing is exact in its last bits.
    Flips are counted and not judged: a difference within the limit flips nothing but near ties. Whole numbers are decisions themselves,
    of which near ties may differ: their samples are counted.
    """
    if reference.dtype.kind in "iub":
        return _whole_parity(a, reference, _WHOLE_SHARES[relative_limit > FLOAT_LIMITS["fp32"]])
    rule = f"max difference <= {relative_limit:g} of the largest output and of the range"
    if reason := _incomparable(a, reference):
        return Comparison(ok=False, reason=reason, rule=rule, n=len(a))
    finite = reference[np.isfinite(reference)].astype(np.float64)
    magnitude = float(np.abs(finite).max(initial=0.0))
    largest = max(min(magnitude, float(np.ptp(finite))), _CONSTANT * magnitude) if finite.size else 0.0
    difference = float(np.abs(_less(a, reference)).max(initial=0.0))
    relative = difference / largest if largest else math.inf if difference else 0.0
    return Comparison(
        ok=relative <= relative_limit,
        max_abs=difference,
        relative=relative if math.isfinite(relative) else None,
        flips=flips,
        n=len(a),
        rule=rule,
    )


def rounding_parity(a: np.ndarray, reference: np.ndarray, unrounded: np.ndarray, *, flips: int | None = None) -> Comparison:
    """Compare outputs [N, ...] of an artifact whose activations are rounded as they come with those of its reference.

    unrounded: what the same program gives without rounding activations. Either the outputs are close, as in `float_parity`, or most of what
    rounding changes is the same in both: where float32 sums differ in their last bits, some values round the other way, and each layer adds
    to that. The difference of two roundings with the correlation r has sqrt(2 - 2 r) of the RMS of each, so that 0.7 is r = 0.75; the other
    way of rounding has 1 or more.
    """
    found = float_parity(a, reference, relative_limit=DYNAMIC_LIMIT, flips=flips)
    if found.reason is not None or found.relative is None or reference.dtype.kind != "f":
        return found
    changed = float(np.sqrt(np.square(_less(reference, unrounded)).mean()))
    share = float(np.sqrt(np.square(_less(a, reference)).mean())) / changed if changed else None
    rule = f"{found.rule}, or RMS difference <= {ROUNDING_LIMIT:g} of what rounding activations changes"
    ok = bool(found.ok) or (share is not None and share <= ROUNDING_LIMIT)
    return found.model_copy(update={"ok": ok, "of_rounding": share, "rule": rule})


def _whole_parity(a: np.ndarray, reference: np.ndarray, share: float) -> Comparison:
    rule = f"whole numbers differ for <= {share:.1%} of samples"
    if reason := _incomparable(a, reference):
        return Comparison(ok=False, reason=reason, rule=rule, n=len(a))
    differ = (a != reference).reshape(len(a), -1)
    flips = int(differ.any(axis=1).sum())
    furthest = float(np.abs(_less(a, reference)).max(initial=0.0))
    return Comparison(ok=flips <= share * len(a), exact=float(1 - differ.mean()), max_abs=furthest, flips=flips, n=len(a), rule=rule)


def _incomparable(a: np.ndarray, b: np.ndarray) -> str | None:
    if a.shape != b.shape:
        return f"found outputs of shape {a.shape}, expected {b.shape}"
    # Infinities of a mask are right where both have them.
    equal = np.isinf(a) & (a == b) if a.dtype.kind == "f" else np.zeros(a.shape, bool)
    for name, values in (("outputs", a), ("reference outputs", b)):
        if broken := int((~np.isfinite(values) & ~equal).sum()):
            return f"{broken} of {values.size} {name} are NaN or infinite"
    return None


def _less(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a - b in float64, 0 where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, a.astype(np.float64) - b.astype(np.float64))


def _flip_limit(samples: int) -> float:
    return max(2.0, _FLIP_SHARE * samples)
