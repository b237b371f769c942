"""Precision, recall and F1 of classes. Not by scikit-learn: importing it takes a second, and reports are drawn without it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassScores:
    """What a classifier gets right of each class, float64 [classes] from 0 to 1; NaN where a class has none of what is divided by."""

    counts: np.ndarray
    """Samples of each class, int64 [classes]."""
    precision: np.ndarray
    """Share of the predictions of a class that are right."""
    recall: np.ndarray
    """Share of the samples of a class that are found."""
    f1: np.ndarray
    """The harmonic mean of both (van Rijsbergen 1979, Information Retrieval, chapter 7): 2 TP / (2 TP + FP + FN)."""

    @property
    def macro(self) -> float:
        """The mean of F1 over the classes that samples have or predictions name: each counts alike, however rare it is."""
        return float(np.nanmean(self.f1))


def class_scores(chosen: np.ndarray, labels: np.ndarray, classes: int) -> ClassScores:
    """The scores of the predictions `chosen`, int [N], for labels int [N], both from 0 to classes - 1."""
    hits = np.bincount(labels[chosen == labels], minlength=classes)
    of_class, predicted = (np.bincount(values, minlength=classes) for values in (labels, chosen))
    with np.errstate(invalid="ignore"):
        return ClassScores(of_class, hits / predicted, hits / of_class, 2 * hits / (of_class + predicted))
