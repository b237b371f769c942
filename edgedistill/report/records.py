"""Reads the records of a run: its artifacts, what each rung answered, and how often that was right."""

from collections.abc import Iterable, Mapping

import numpy as np
from pydantic import JsonValue

from edgedistill.files import read_json
from edgedistill.recipe.precisions import needs_program, program_of
from edgedistill.records import Accuracy, ArtifactResult, ArtifactSpec, Execution, Score, Unavailable
from edgedistill.run import Run
from edgedistill.tasks import intervals
from edgedistill.tasks.image_classification.imageset import ImageSet

NO_LABELS = "the images have no labels"


def outputs_of(run: Run, rung: str, split: str) -> np.ndarray | None:
    """Logits float32 [N, classes] of a rung or artifact on a split, or None where it did not run there."""
    step = f"{split}-{rung}"
    # Programs of post-training precisions are scored on val only; their artifacts on both.
    program = f"program-{program_of(rung)}"
    path = run.work("holdout" if split == "holdout" else program if run.result(program) else "programs", f"{rung}.npy")
    if run.result(step) is not None:
        path = run.work(step, "outputs.npy")
    return np.load(path) if path.exists() else None


def labels_of(images: ImageSet, split: str) -> np.ndarray | None:
    """Labels int64 [N] of a split, or None where the images have none."""
    return images.labels[images.indices[split]] if images.classes else None


def accuracy_of(run: Run, rung: str, images: ImageSet) -> Accuracy:
    """Accuracy of a rung or artifact on val and on the holdout, each with its 95% interval, or why there is none."""
    return Accuracy(**{split: _score(run, rung, split, images) for split in ("val", "holdout")})


def _score(run: Run, rung: str, split: str, images: ImageSet) -> Score | Unavailable:
    logits = outputs_of(run, rung, split)
    if logits is None:
        ran = Execution.model_validate(run.result(f"{split}-{rung}") or {})
        none = split == "holdout" and not len(images.indices["holdout"])
        why = "the data has no holdout" if none else f"{rung} was not scored on {split}"
        return Unavailable(unavailable=ran.error or ran.unavailable or why)
    labels = labels_of(images, split)
    if labels is None:
        return Unavailable(unavailable=NO_LABELS)
    right = correct(logits, labels)
    interval = intervals.wilson(int(right.sum()), len(right))
    return Score(value=float(right.mean()), correct=int(right.sum()), n=len(right), interval=interval)


def arrays_of(run: Run, rung: str, split: str) -> dict[str, np.ndarray] | None:
    """All outputs of a rung or artifact on a split, [N, ...] by name, or None where it did not run there."""
    found = outputs_of(run, rung, split)
    return None if found is None else dict.fromkeys(run.result("programs")["output_scale"], found)


def scales_of(run: Run, spec: ArtifactSpec) -> dict[str, float]:
    """The size of a step of each output of the program that an artifact was lowered from; empty where it has none."""
    made = run.result(f"program-{spec.precision}" if needs_program(spec.precision) else "programs")
    return (made or {}).get("output_scale", {})


def decide(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The class that each sample is given to, int64 [N]."""
    (logits,) = outputs.values()
    return logits.argmax(axis=1)


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which of the logits [N, classes] name their label, bool [N]."""
    return logits.argmax(axis=1) == labels


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits [N, classes], float64."""
    from scipy import special

    return special.softmax(logits.astype(np.float64), axis=1)


def measured(run: Run, artifacts: Iterable[ArtifactResult]) -> list[dict[str, JsonValue]]:
    """What `bench --device` measured of these files (by their hash, so that none stands for another), by device."""
    hashes = {artifact.sha256 for artifact in artifacts}
    found = [one for path in sorted(run.work("devices").glob("*.json")) for one in read_json(path)]
    return [one for one in found if one["artifact"]["sha256"] in hashes]
