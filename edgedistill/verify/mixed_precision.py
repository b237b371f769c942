"""Which layers to leave in floating point: what the sensitivity scan finds, and a greedy choice by it."""

from typing import Any

import numpy as np

from edgedistill.progress import log
from edgedistill.quantize.mixed import leave_float
from edgedistill.quantize.state import QuantizedState
from edgedistill.tasks.data import spread
from edgedistill.tasks.image_classification.models import predict
from edgedistill.tasks.intervals import paired_difference
from edgedistill.verify.integer import IntegerReference
from edgedistill.verify.sensitivity import scan

SAMPLE = 256
MIN_SHARE = 0.1
MAX_LAYERS = 3


def examine(
    state: QuantizedState, images: np.ndarray, labels: np.ndarray | None, student: np.ndarray, integer: np.ndarray, *, apply: bool
) -> tuple[QuantizedState, dict[str, Any]]:
    """Scan the layers of `state`, choose among them, and with `apply` leave those in floating point; returns the state and the record.

    images: float32 or uint8 [N, 3, S, S] of val. labels: int64 [N], or None. student, integer: logits [N, classes] of the float student and
    of the state. The scan takes 256 images at even distances; the gap in accuracy is that of all N.

    The layer that alone in floating point brings the logits nearest to the student's, by the mean Kullback-Leibler divergence, is chosen
    while that takes away at least a tenth of the divergence and while the 95% interval of the gap to the student is above zero. With
    `apply` the scan is then made again, up to three layers; without, the first is a proposal. Sensitivity by the divergence of the
    outputs: Cai et al. 2020, "ZeroQ" (arXiv 2001.00281); more bits for sensitive layers: Dong et al. 2019, "HAWQ" (arXiv 1905.03696).

    The record: `n` of `of` images, `int8` and `result` (`kl`, `flips`, and on all images `gap`), `layers` by their cost, `chosen`,
    `applied`, `stopped` (why no further layer was chosen; None for a proposal).
    """
    sample = spread(len(images), SAMPLE)
    expected = student[sample]
    gap = _gap(student, integer, labels)
    current, stopped = state, None
    chosen: list[dict[str, Any]] = []
    record: dict[str, Any] = {"n": len(sample), "of": len(images)}
    while stopped is None:
        logits, alone, facts = scan(current.converted, current.trained, images[sample])
        base = _compare(expected, logits)
        total = sum(fact["macs"] for fact in facts) + sum(layer["macs"] for layer in chosen)
        layers = sorted((_row(fact, alone[fact["node"]], expected, total) for fact in facts), key=lambda row: row["kl"])
        record = {"int8": base | {"gap": gap}, "layers": layers, **record}
        best = layers[0]
        if gap is not None and gap["interval"][0] <= 0:
            stopped = "gap"
        elif best["kl"] > (1 - MIN_SHARE) * base["kl"]:
            stopped = "share"
        else:
            chosen.append(best | {"kl_before": base["kl"]})
            if not apply:
                break
            log(f"left in floating point: {best['layer']} (KL {base['kl']:.3g} to {best['kl']:.3g})")
            current = leave_float(state, [layer["node"] for layer in chosen])
            gap = _gap(student, predict(IntegerReference(current.converted), images), labels)
            stopped = "most" if len(chosen) == MAX_LAYERS else None
    applied = apply and bool(chosen)
    result = {key: chosen[-1][key] for key in ("kl", "flips")} | {"gap": gap} if applied else None
    return current, record | {"chosen": chosen, "applied": applied, "result": result, "stopped": stopped}


def _row(fact: dict[str, Any], logits: np.ndarray, expected: np.ndarray, total: int) -> dict[str, Any]:
    return fact | _compare(expected, logits) | {"macs_share": fact["macs"] / total}


def _compare(expected: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """Mean divergence KL(expected || found) of the softmax in nats, and the number of flipped predictions; logits [N, classes]."""
    from scipy.special import log_softmax

    p, q = (log_softmax(logits.astype(np.float64), axis=1) for logits in (expected, found))
    flips = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    return {"kl": float((np.exp(p) * (p - q)).sum(axis=1).mean()), "flips": flips}


def _gap(student: np.ndarray, found: np.ndarray, labels: np.ndarray | None) -> dict[str, Any] | None:
    """The student's accuracy less that of `found`, with its interval; None without labels."""
    if labels is None:
        return None
    difference, low, high = paired_difference(*(logits.argmax(axis=1) == labels for logits in (student, found)))
    return {"difference": difference, "interval": [low, high], "n": len(labels)}
