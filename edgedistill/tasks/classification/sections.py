"""What the report shows of a classifier alone: which classes it confuses, and how far its confidence can be trusted."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy import special

from edgedistill.tasks.classification.calibration_error import calibration_error
from edgedistill.tasks.sections import Bin, Cell, ConfusionMatrix, ReliabilityDiagram, Section, Table

_MOST = 8


def sections(logits: np.ndarray, labels: np.ndarray, classes: list[str], rung: str) -> list[Section]:
    """Confusion and calibration of the logits [N, classes] that `rung` gave, with labels int [N]."""
    return [_confusion(logits.argmax(axis=1), labels, classes, rung), _confidence(logits, labels, rung)]


def _confusion(chosen: np.ndarray, labels: np.ndarray, classes: list[str], rung: str) -> Section:
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, (labels, chosen), 1)
    wrong = Counter({(i, j): int(n) for (i, j), n in np.ndenumerate(matrix) if i != j and n})
    rows = tuple((classes[i], classes[j], n, f"{n / matrix[i].sum():.2%}") for (i, j), n in wrong.most_common(_MOST))
    caption = "Shade is the share of the true class; empty cells are none."
    blocks = (
        ConfusionMatrix(tuple(classes), tuple(map(tuple, matrix.tolist())), caption, f"Confusion matrix of {rung}"),
        Table(("true class", "predicted", "samples", "of this class"), rows, "Most frequent confusions"),
    )
    return Section("Mistakes", "" if rows else f"{rung} makes no mistake on val.", blocks if rows else blocks[:1])


def _confidence(logits: np.ndarray, labels: np.ndarray, rung: str) -> Section:
    errors = calibration_error(special.softmax(logits.astype(np.float64), axis=1), labels)
    bins = tuple(Bin(**entry) for entry in errors["bins"])
    text = (
        f"Expected calibration error (ECE) {errors['ece']:.3g}, with bins of equal counts {errors['adaptive_ece']:.3g}; "
        f"Brier score {errors['brier']:.3g}, negative log-likelihood {errors['nll']:.3g} nats."
    )
    caption = "Bars: accuracy in each bin of confidence. The dashed line is perfect calibration."
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (f"{b.low:.2f} to {b.high:.2f}", b.count, *("–" if value is None else f"{value:.2%}" for value in (b.confidence, b.accuracy)))
        for b in bins
    )
    table = Table(("confidence", "samples", "mean confidence", "accuracy"), rows, "Bins of the reliability diagram", folded=True)
    return Section("Confidence", text, (ReliabilityDiagram(bins, caption, f"Reliability of {rung}"), table))
