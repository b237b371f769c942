"""What the report shows of a classifier alone: which classes it confuses and finds, and how far its confidence can be trusted."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy import special

from edgedistill.tasks.classification.calibration_error import calibration_error
from edgedistill.tasks.classification.f1 import class_scores
from edgedistill.tasks.sections import Bin, Block, Cell, ConfusionMatrix, ReliabilityDiagram, Section, Table

_MOST = 8
_MOST_CLASSES = 30
"""Classes whose scores are listed; of more the mean alone is in the ladder."""


def sections(logits: np.ndarray, labels: np.ndarray, classes: list[str], rung: str) -> list[Section]:
    """Confusion, scores of each class, and calibration of the logits [N, classes] that `rung` gave, with labels int [N]."""
    return [_confusion(logits.argmax(axis=1), labels, classes, rung), _confidence(logits, labels, rung)]


def _confusion(chosen: np.ndarray, labels: np.ndarray, classes: list[str], rung: str) -> Section:
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, (labels, chosen), 1)
    wrong = Counter({(i, j): int(n) for (i, j), n in np.ndenumerate(matrix) if i != j and n})
    rows = tuple((classes[i], classes[j], n, f"{n / matrix[i].sum():.2%}") for (i, j), n in wrong.most_common(_MOST))
    caption = "Shade is the share of the true class; empty cells are none."
    blocks: list[Block] = [ConfusionMatrix(tuple(classes), tuple(map(tuple, matrix.tolist())), caption, f"Confusion matrix of {rung}")]
    if rows:
        blocks.append(Table(("true class", "predicted", "samples", "of this class"), rows, "Most frequent confusions"))
    if rows and len(classes) <= _MOST_CLASSES:
        blocks.append(_of_each_class(chosen, labels, classes))
    return Section("Mistakes", "" if rows else f"{rung} makes no mistake on val.", tuple(blocks))


def _of_each_class(chosen: np.ndarray, labels: np.ndarray, classes: list[str]) -> Table:
    scores = class_scores(chosen, labels, len(classes))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, int(count), *("–" if np.isnan(value) else f"{value:.2%}" for value in values))
        for name, count, *values in zip(classes, scores.counts, scores.precision, scores.recall, scores.f1, strict=True)
    )
    return Table(("class", "samples", "precision", "recall", "F1"), rows, f"Scores of each class; the mean of F1 is {scores.macro:.2%}")


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
