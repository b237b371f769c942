"""F1 of classes: against scikit-learn's, in the further scores of classifiers, and in their report."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from edgedistill import tasks
from edgedistill.tasks.classification.f1 import class_scores
from edgedistill.tasks.classification.sections import sections
from edgedistill.tasks.sections import Table


def logits(chosen: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[chosen]


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(6, 200, p=[0.6, 0.2, 0.1, 0.05, 0.04, 0.01])
    chosen = np.where(rng.random(200) < 0.7, labels, rng.integers(0, 6, 200))
    scores = class_scores(chosen, labels, 6)
    for found, expected in ((scores.precision, precision_score), (scores.recall, recall_score), (scores.f1, f1_score)):
        np.testing.assert_allclose(found, expected(labels, chosen, average=None, labels=range(6), zero_division=np.nan))
    assert scores.macro == pytest.approx(f1_score(labels, chosen, average="macro"))
    assert scores.counts.tolist() == np.bincount(labels, minlength=6).tolist()


def test_a_class_that_nothing_is_known_of_has_no_score() -> None:
    # Class 2 is never predicted, class 3 has no sample, and class 4 has neither.
    labels, chosen = np.array([0, 0, 1, 2]), np.array([0, 3, 1, 1])
    scores = class_scores(chosen, labels, 5)
    np.testing.assert_allclose(scores.precision, [1, 0.5, np.nan, 0, np.nan])
    np.testing.assert_allclose(scores.recall, [0.5, 1, 0, np.nan, np.nan])
    np.testing.assert_allclose(scores.f1, [2 / 3, 2 / 3, 0, 0, np.nan])
    assert scores.macro == pytest.approx(1 / 3)
    assert scores.macro == pytest.approx(f1_score(labels, chosen, average="macro"))


@pytest.mark.parametrize("name", ["image-classification", "text-classification"])
def test_the_tasks_with_classes_give_the_mean_of_f1(name: str) -> None:
    # Nine of ten samples are of class 0, and it is always predicted: 90% accurate.
    labels, chosen = np.array([0] * 9 + [1]), np.zeros(10, int)
    further = tasks.task(name).further({"logits": logits(chosen, 2)}, {"logits": labels})
    assert next(iter(further)) == "f1_macro"
    assert further["f1_macro"] == pytest.approx(f1_score(labels, chosen, average="macro"))
    assert further["f1_macro"] < 0.5


def listed(labels: np.ndarray, chosen: np.ndarray, classes: int) -> list[Table]:
    """The tables of the section on mistakes."""
    mistakes = sections(logits(chosen, classes), labels, [f"c{i}" for i in range(classes)], "int8")[0]
    return [block for block in mistakes.blocks if isinstance(block, Table)]


def test_the_report_lists_each_class() -> None:
    table = listed(np.array([0, 0, 1, 2]), np.array([0, 3, 1, 1]), 5)[-1]
    assert table.columns == ("class", "samples", "precision", "recall", "F1")
    assert table.rows[0] == ("c0", 2, "100.00%", "50.00%", "66.67%")
    assert table.rows[4] == ("c4", 0, "–", "–", "–")
    assert table.caption == "Scores of each class; the mean of F1 is 33.33%"


@pytest.mark.parametrize(("classes", "tables"), [(30, 2), (31, 1)])
def test_many_classes_are_not_listed(classes: int, tables: int) -> None:
    labels = np.arange(classes)
    assert len(listed(labels, np.roll(labels, 1), classes)) == tables


def test_scikit_learn_is_not_imported_for_it() -> None:
    # Importing it takes longer than all else that a report needs, and the extra `report` does not have it.
    program = (
        "import sys, numpy as np\n"
        "from edgedistill import tasks\n"
        "from edgedistill.tasks.classification.sections import sections\n"
        "x, y = np.eye(3, dtype='float32'), np.array([0, 1, 1])\n"
        "tasks.task('image-classification').further({'logits': x}, {'logits': y}), sections(x, y, ['a', 'b', 'c'], 'int8')\n"
        "assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
