"""What quantization cost beside the floating-point twin, and when a run warns of it."""

import numpy as np
import pytest
from made_documents import made_result

from edgedistill import tasks
from edgedistill.records import ArtifactResult, Quantization, Unavailable
from edgedistill.report.twins import with_twins
from edgedistill.verify.failures import warnings
from edgedistill.verify.scoring import Scorer

LABELS = np.arange(1000) % 10


def answers(wrong: int) -> np.ndarray:
    """Logits [1000, 10] of which the first `wrong` name another class."""
    chosen = LABELS.copy()
    chosen[:wrong] = (chosen[:wrong] + 1) % 10
    return np.eye(10, dtype=np.float32)[chosen]


def artifact(precision: str, size: int, p50: float) -> ArtifactResult:
    missing = Unavailable(unavailable="too few samples")
    return made_result("litert", precision, bytes=size, latency_ms={"p50": p50, "p95": missing, "p99": missing, "n": 1})


def told(wrong: int, p50: float = 1.0, labels: np.ndarray | None = LABELS) -> tuple[Quantization, list[str]]:
    """The cost of an int8 file with `wrong` of 1,000 predictions, whose twin has 20 others, and the warnings."""
    artifacts = [artifact("int8", 25, p50), artifact("fp32", 100, 2.0)]
    scorer = Scored({"student-int8.tflite": answers(wrong), "student-fp32.tflite": answers(20)}, labels)
    artifacts = with_twins(artifacts, scorer.difference, scorer.task.metric.tolerated)
    return artifacts[0].quantization, warnings(artifacts, scorer.task.metric)


class Scored(Scorer):
    """Scores logits that are given, without a run."""

    def __init__(self, logits: dict[str, np.ndarray], labels: np.ndarray | None) -> None:
        self.task, self._scores = tasks.task("image-classification"), {}
        self.outputs = lambda name, split="val": {"logits": logits[name]}
        self.targets = lambda split: {} if labels is None else {"logits": labels}
        self.places = lambda name, split="val": None


def test_a_loss_beyond_doubt_is_a_warning_that_says_how_much_and_what_to_do() -> None:
    cost, (warning,) = told(120)
    assert cost.difference == pytest.approx(-0.1)
    assert warning.startswith("int8 loses 10.00 points of accuracy on val [")
    assert "against student-fp32.tflite, n = 1000" in warning
    assert "mixed: auto, or ship student-fp32.tflite" in warning


@pytest.mark.parametrize("wrong", [20, 22, 26, 10])
def test_a_gain_and_what_could_be_chance_are_none(wrong: int) -> None:
    cost, found = told(wrong)
    assert cost.flips == abs(wrong - 20)
    assert cost.interval[1] >= -0.003
    assert found == []


def test_without_labels_nothing_is_known_and_nothing_claimed() -> None:
    cost, found = told(500, labels=None)
    assert cost.difference.unavailable == "the images have no labels"
    assert found == []


def test_a_slower_file_is_advised_against_and_a_faster_one_not() -> None:
    slow, _ = told(20, p50=3.0)
    fast, _ = told(20, p50=1.0)
    assert "ship student-fp32.tflite unless 0.25 times the bytes matter more" in slow.advice
    assert slow.speedup == pytest.approx(2 / 3)
    assert fast.advice is None
