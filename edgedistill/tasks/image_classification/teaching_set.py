"""What a teacher says of the training images, beside their labels."""

import csv
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from edgedistill.files import replacing
from edgedistill.tasks.data import Dataset

_UNSURE = 0.5


def write(logits: np.ndarray, dataset: Dataset, classes: list[str], folder: Path) -> dict[str, JsonValue]:
    """Count what is taught, and list in teaching-set.csv where the teacher is unsure or contradicts the label; such samples stay in.

    logits: [n, classes] of view 0 of the training images.
    """
    from scipy import special

    train = dataset.indices["train"]
    probabilities = special.softmax(logits.astype(np.float64), axis=1)
    labels, chosen, confidence = dataset.targets(train)["logits"], probabilities.argmax(axis=1), probabilities.max(axis=1)
    unsure, contradicts = confidence < _UNSURE, (labels >= 0) & (chosen != labels)
    with replacing(folder / "teaching-set.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sample", "label", "teacher", "confidence", "unsure", "contradicts"])
        for row in np.flatnonzero(unsure | contradicts):
            label = classes[labels[row]] if labels[row] >= 0 else ""
            flags = [int(unsure[row]), int(contradicts[row])]
            writer.writerow([int(train[row]), label, classes[chosen[row]], f"{confidence[row]:.3f}", *flags])
    labelled = int((labels >= 0).sum())
    text = (
        f"{labelled} with a label; the teacher is unsure (below {_UNSURE:.0%}) of {unsure.sum()} and contradicts {contradicts.sum()} labels"
    )
    return {
        "samples": len(train), "labelled": labelled, "unsure": int(unsure.sum()), "contradicts": int(contradicts.sum()),
        "unsure_below": _UNSURE, "text": text,
    }  # fmt: skip
