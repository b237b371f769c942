"""A task whose output `logits` has a score for each class, whatever its samples are. Free of torch; what computes is imported late."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from edgedistill.records.manifest import Manifest
from edgedistill.tasks.base import Arrays, Metric, Task
from edgedistill.tasks.data import DataFacts, Dataset
from edgedistill.tasks.sections import Results, Section

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.intervals import Gaps
    from edgedistill.tasks.model_file import ModelFile
    from edgedistill.tasks.requests import Demands

GLUE = Path(__file__).parent / "glue"
"""Code for apps that tasks with classes share."""


class ClassFacts(DataFacts):
    """What is known of samples that have labels."""

    classes: list[str] = Field(description="Names of the labels in the order of the outputs; empty for samples without labels.")


class Classification(Task):
    """Output `logits`, float32 [B, classes]; target int64 [B], -1 for none."""

    metric = Metric("accuracy", "accuracy", described="The share of samples whose most likely class is right.")
    lowest = 0.0

    def teaching_set(self, answers: Callable[[np.ndarray], Arrays], dataset: Dataset, folder: Path) -> dict[str, JsonValue]:
        """Lists in teaching-set.csv where the teacher is unsure or contradicts the label; such samples stay in."""
        from edgedistill.tasks.classification.teaching_set import write

        return write(lambda indices: answers(indices)["logits"], dataset, classes_of(dataset.facts), folder)

    def score(self, outputs: Arrays, targets: Arrays) -> np.ndarray:
        """Whether the largest logit is that of the label, bool [n]."""
        return outputs["logits"].argmax(axis=1) == targets["logits"]

    def demands(self, recipe: Recipe, dataset: Dataset) -> Demands | None:
        """The samples of val whose class has no training sample; None for samples without labels."""
        import numpy as np

        from edgedistill.tasks.requests import Demands

        train, val = (dataset.targets(dataset.indices[split]).get("logits") for split in ("train", "val"))
        if train is None or val is None:
            return None
        what = f"are of a class without training {self.words.samples}"
        return Demands(int((~np.isin(val, train)).sum()), len(val), what)

    def further(self, outputs: Arrays, targets: Arrays) -> dict[str, float]:
        """The mean F1 of the classes, calibration errors, the Brier score and the negative log-likelihood."""
        from scipy import special

        from edgedistill.tasks.classification.calibration_error import calibration_error
        from edgedistill.tasks.classification.f1 import class_scores

        logits, labels = outputs["logits"], targets["logits"]
        errors = calibration_error(special.softmax(logits.astype("float64"), axis=1), labels)
        scores = class_scores(logits.argmax(axis=1), labels, logits.shape[1])
        return {"f1_macro": scores.macro} | {name: errors[name] for name in ("ece", "adaptive_ece", "brier", "nll")}

    def gaps(self, outputs: Arrays, targets: Arrays) -> Gaps:
        """Each sample is a decision."""
        import numpy as np
        from scipy import special

        from edgedistill.tasks.classification.calibration_error import gaps

        probabilities = special.softmax(outputs["logits"].astype("float64"), axis=1)
        right, n = probabilities.argmax(axis=1) == targets["logits"], len(probabilities)
        return gaps(probabilities.max(axis=1), right, np.arange(n), n, 1)

    def slices(self, dataset: Dataset, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The fields of the data, and `class`, the name of each sample's label."""
        import numpy as np

        targets, names = dataset.targets(indices), np.array(classes_of(dataset.facts))
        return super().slices(dataset, indices) | ({"class": names[targets["logits"]]} if targets else {})

    def decide(self, outputs: Arrays) -> np.ndarray:
        """The class of the largest logit, int64 [n]."""
        return outputs["logits"].argmax(axis=1)

    def confidences(self, outputs: Arrays) -> dict[str, np.ndarray]:
        """The largest probability, its distance to the second one, and 1 less the entropy over that of a uniform distribution."""
        from edgedistill.tasks.classification.confidence import confidences

        return confidences(outputs["logits"])

    def decision_names(self, recipe: Recipe, facts: DataFacts) -> list[str]:
        """The labels."""
        return classes_of(facts)

    def sure_and_unsure(self) -> Arrays:
        """Three logits each, whose largest one is 0 to 16 above the others."""
        from edgedistill.tasks.classification.confidence import sure_and_unsure

        return {"logits": sure_and_unsure()}

    def distance(self, outputs: Arrays, expected: Arrays) -> float:
        """The mean Kullback-Leibler divergence KL(expected || outputs) of the probabilities, in nats."""
        import numpy as np
        from scipy.special import log_softmax

        p, q = (log_softmax(arrays["logits"].astype("float64"), axis=1) for arrays in (expected, outputs))
        return float((np.exp(p) * (p - q)).sum(axis=1).mean())

    def temperature(self, outputs: Arrays, targets: Arrays) -> float:
        """The temperature of the highest likelihood of the labels."""
        from edgedistill.tasks.classification.temperature_scaling import fit_temperature

        return fit_temperature(outputs["logits"], targets["logits"])

    def divide(self, module: nn.Module, temperature: float) -> bool:
        """Divide weight and bias of the classifier."""
        from edgedistill.tasks.classification.temperature_scaling import divide_layer

        return divide_layer(self.classifier(module), temperature)

    def classifier(self, module: nn.Module) -> nn.Module | None:
        """The layer of a module of `build` that gives the logits; None where it has no such layer."""
        raise NotImplementedError

    def comparing(self, file: ModelFile) -> Callable[[Arrays, Any], dict[str, Any]]:
        """What compares the outputs of `file` with a teacher's answer in the shadow phase."""
        from edgedistill.tasks.classification.agreement import comparing

        (output,) = file.outputs
        labels: Any = file.entries["labels"]
        return comparing(labels, output)

    def misfits(self, manifest: Manifest) -> list[str]:
        """Labels have to be as many as the scores of each artifact."""
        labels = (manifest.model_extra or {}).get("labels")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            return ["labels: expected a list of texts"]
        return [
            f"found {len(labels)} labels, expected {spec.shape[-1]}, as the output {spec.name} of {entry.name} has"
            for entry in manifest.artifacts
            for spec in entry.signature.outputs
            if spec.meaning == "logits" and spec.shape[-1] != len(labels)
        ]

    def sections(self, results: Results) -> list[Section]:
        """Confusion and calibration of the program that ships, where the samples have labels."""
        from edgedistill.tasks.classification.sections import sections

        outputs = results.outputs(results.shipped)
        if outputs is None or not results.targets:
            return []
        return sections(outputs["logits"], results.targets["logits"], classes_of(results.facts), results.shipped)


def classes_of(facts: DataFacts) -> list[str]:
    """The names of the labels, in the order of the outputs."""
    assert isinstance(facts, ClassFacts)
    return facts.classes
