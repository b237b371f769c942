"""Temperature scaling on logits whose true temperature is known."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from edgedistill.distill.temperature_scaling import Tempered
from edgedistill.tasks.classification.calibration_error import calibration_error
from edgedistill.tasks.classification.temperature_scaling import fit_temperature

RNG = np.random.default_rng(0)
TRUE = RNG.normal(size=(4000, 5)) * 1.5
LABELS = np.array([RNG.choice(5, p=row) for row in softmax(TRUE, axis=1)])


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_logits_were_multiplied_by_is_found(temperature: float) -> None:
    found = fit_temperature((TRUE * temperature).astype(np.float32), LABELS)
    assert found == pytest.approx(temperature, rel=0.06)
    before = calibration_error(softmax(TRUE * temperature, axis=1), LABELS)["ece"]
    after = calibration_error(softmax(TRUE * temperature / found, axis=1), LABELS)["ece"]
    assert after < 0.02
    assert temperature == 1.0 or before > 5 * after


def test_without_a_mistake_there_is_nothing_to_fit() -> None:
    assert fit_temperature(TRUE, TRUE.argmax(axis=1)) == 1.0


def test_a_tempered_model_divides_its_logits() -> None:
    assert torch.equal(Tempered(torch.nn.Identity(), 2.0)(torch.tensor([[2.0, 4.0]])), torch.tensor([[1.0, 2.0]]))
