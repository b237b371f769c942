"""What a teacher says of the training samples, beside their labels."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from edgedistill.files import replacing
from edgedistill.tasks.data import Dataset

_UNSURE, _AT_ONCE = 0.5, 1024


def write(logits: Callable[[np.ndarray], np.ndarray], dataset: Dataset, classes: list[str], folder: Path) -> dict[str, JsonValue]:
    """Count what is taught, and list in teaching-set.csv where the teacher is unsure or contradicts the label; such samples stay in.

    logits: gives those [B, classes] of view 0 of the training samples with the numbers [B].
    """
    from scipy import special

    train, labelled, counts = dataset.indices["train"], 0, np.zeros(2, np.int64)
    with replacing(folder / "teaching-set.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sample", "label", "teacher", "confidence", "unsure", "contradicts"])
        for start in range(0, len(train), _AT_ONCE):
            indices = train[start : start + _AT_ONCE]
            probabilities = special.softmax(logits(indices).astype(np.float64), axis=1)
            labels, chosen, confidence = dataset.targets(indices)["logits"], probabilities.argmax(axis=1), probabilities.max(axis=1)
            unsure, contradicts = confidence < _UNSURE, (labels >= 0) & (chosen != labels)
            labelled += int((labels >= 0).sum())
            counts += unsure.sum(), contradicts.sum()
            for row in np.flatnonzero(unsure | contradicts):
                label = classes[labels[row]] if labels[row] >= 0 else ""
                flags = [int(unsure[row]), int(contradicts[row])]
                writer.writerow([int(indices[row]), label, classes[chosen[row]], f"{confidence[row]:.3f}", *flags])
    unsures, contradictions = counts.tolist()
    text = f"{labelled} with a label; the teacher is unsure (below {_UNSURE:.0%}) of {unsures} and contradicts {contradictions} labels"
    return {
        "samples": len(train), "labelled": labelled, "unsure": unsures, "contradicts": contradictions,
        "unsure_below": _UNSURE, "text": text,
    }  # fmt: skip
