"""Reads the records of a run: its artifacts, what each rung answered, and how often that was right."""

from typing import Any

import numpy as np

from edgedistill.files import read_json
from edgedistill.measure.statistics import unavailable
from edgedistill.recipe.precisions import program_of
from edgedistill.run import Run
from edgedistill.tasks import intervals
from edgedistill.tasks.image_classification.imageset import ImageSet

NO_LABELS = "the images have no labels"


def lowered_artifacts(state: Run) -> list[dict[str, Any]]:
    """The records of every artifact that was lowered."""
    return [a.model_dump() for a in state.artifacts()]


def outputs_of(state: Run, rung: str, split: str) -> np.ndarray | None:
    """Logits float32 [N, classes] of a rung or artifact on a split, or None where it did not run there."""
    step = f"{split}-{rung}"
    # Programs of post-training precisions are scored on val only; their artifacts on both.
    program = f"program-{program_of(rung)}"
    path = state.work("holdout" if split == "holdout" else program if state.result(program) else "programs", f"{rung}.npy")
    if state.result(step) is not None:
        path = state.work(step, "outputs.npy")
    return np.load(path) if path.exists() else None


def labels_of(images: ImageSet, split: str) -> np.ndarray | None:
    """Labels int64 [N] of a split, or None where the images have none."""
    return images.labels[images.indices[split]] if images.classes else None


def accuracy_of(state: Run, rung: str, images: ImageSet) -> dict[str, Any]:
    """Accuracy of a rung or artifact on val and on the holdout, each with its 95% interval, or why there is none."""
    found = {}
    for split in ("val", "holdout"):
        logits = outputs_of(state, rung, split)
        if logits is None:
            ran = state.result(f"{split}-{rung}") or {}
            why = (
                "the data has no holdout"
                if split == "holdout" and not len(images.indices["holdout"])
                else f"{rung} was not scored on {split}"
            )
            found[split] = unavailable(ran.get("error") or ran.get("unavailable") or why)
            continue
        labels = labels_of(images, split)
        if labels is None:
            found[split] = unavailable(NO_LABELS)
            continue
        right = correct(logits, labels)
        low, high = intervals.wilson(int(right.sum()), len(right))
        found[split] = {"value": float(right.mean()), "correct": int(right.sum()), "n": len(right), "interval": [low, high]}
    return found


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which of the logits [N, classes] name their label, bool [N]."""
    return logits.argmax(axis=1) == labels


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits [N, classes], float64."""
    from scipy import special

    return special.softmax(logits.astype(np.float64), axis=1)


def measured(state: Run, artifacts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `bench --device` measured of these files (by their hash, so that none stands for another), by device."""
    hashes = {artifact["sha256"] for artifact in artifacts}
    found = [one for path in sorted(state.work("devices").glob("*.json")) for one in read_json(path)]
    return [one for one in found if one["artifact"]["sha256"] in hashes]
