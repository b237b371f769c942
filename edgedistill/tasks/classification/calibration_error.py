"""Whether a model's confidence means what it says: calibration errors, proper scores and the reliability diagram."""

from typing import Any

import numpy as np

from edgedistill.tasks.intervals import Gaps

_SMALLEST = 1e-12


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> dict[str, Any]:
    """Calibration of probabilities float [N, classes] for labels int [N].

    ece: mean gap between confidence and accuracy over `bins` equal bins of confidence, weighted by their counts (Guo et al. 2017,
    arXiv 1706.04599). adaptive_ece: the same over bins of equal counts, which few samples at low confidence cannot distort (Nixon et
    al. 2019, arXiv 1904.01685). brier: mean squared difference to the one-hot label, summed over classes, 0 to 2 (Brier 1950). nll: mean
    negative log-likelihood in nats. bins: what a reliability diagram shows.
    """
    at_label = probabilities[np.arange(len(labels)), labels]
    return {
        **confidence_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins=bins),
        "brier": float((np.square(probabilities).sum(axis=1) - 2 * at_label + 1).mean()),
        "nll": float(-np.log(np.maximum(at_label, _SMALLEST)).mean()),
    }


def confidence_error(confidence: np.ndarray, right: np.ndarray, *, bins: int = 15) -> dict[str, Any]:
    """`ece`, `adaptive_ece` and `bins` of `calibration_error`, of decisions made with `confidence` float [N] that are `right`, bool [N]."""
    position = _bin(confidence, bins)
    rows, gaps = [], 0.0
    for index in range(bins):
        chosen = position == index
        row: dict[str, Any] = {"low": index / bins, "high": (index + 1) / bins, "count": int(chosen.sum())}
        if chosen.any():
            row |= {"confidence": float(confidence[chosen].mean()), "accuracy": float(right[chosen].mean())}
            gaps += row["count"] * abs(row["confidence"] - row["accuracy"])
        rows.append(row)
    return {"ece": gaps / len(right), "adaptive_ece": _adaptive(confidence, right, bins), "bins": rows}


def gaps(confidence: np.ndarray, right: np.ndarray, samples: np.ndarray, n: int, most: int, *, bins: int = 15) -> Gaps:
    """What the `ece` of such decisions is made of, by sample. samples: int [N], the sample of `n` that each decision belongs to."""
    sums = np.zeros((n, bins))
    np.add.at(sums, (samples, _bin(confidence, bins)), confidence - right)
    return Gaps(sums, np.bincount(samples, minlength=n), most)


def _bin(confidence: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((confidence * bins).astype(int), bins - 1)


def _adaptive(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts) / len(confidence))
