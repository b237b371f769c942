"""The judgement of outputs against the float module's: shares of the range, the worst sample, and the noise."""

import numpy as np
import pytest

from edgedistill.errors import UserError
from edgedistill.verify.outputs import compare

REFERENCE = {"a": np.linspace(-2, 2, 40, dtype=np.float32).reshape(10, 4), "b": np.full((10, 1, 2), 5.0, np.float32)}


def changed(name: str, sample: int, by: float) -> dict[str, np.ndarray]:
    values = {key: array.copy() for key, array in REFERENCE.items()}
    values[name][sample] += by
    return values


def test_a_difference_is_a_share_of_the_range_of_its_output_and_names_its_sample() -> None:
    found = compare(changed("a", 7, 0.4), REFERENCE)
    assert found["a"].largest == pytest.approx(0.1)
    assert found["a"].mean == pytest.approx(0.01)
    assert (found["a"].worst, found["a"].range, found["a"].n) == (7, 4, 10)
    signal = np.square(REFERENCE["a"].astype(np.float64)).mean()
    assert found["a"].snr_db == pytest.approx(10 * np.log10(signal / (0.16 / 10)), abs=1e-4)
    assert (found["b"].largest, found["b"].worst, found["b"].snr_db) == (0, None, None)


def test_a_constant_output_is_measured_by_its_magnitude() -> None:
    found = compare(changed("b", 3, 0.5), REFERENCE)["b"]
    assert (found.range, found.largest, found.worst) == (5, pytest.approx(0.1), 3)
    zeros = {"z": np.zeros((4, 2), np.float32)}
    assert compare(zeros, zeros)["z"].largest == 0
    assert compare({"z": np.eye(4, 2, dtype=np.float32)}, zeros)["z"].largest is None


def test_what_is_not_finite_is_counted_and_named_unless_the_reference_has_it_too() -> None:
    values = changed("a", 2, np.nan)
    found = compare(values, REFERENCE)["a"]
    assert (found.largest, found.worst, found.not_finite) == (None, 2, 4)
    masked = {"a": np.where(np.arange(40).reshape(10, 4) == 5, -np.inf, REFERENCE["a"])}
    assert compare(masked, {"a": masked["a"].copy()})["a"].largest == 0


def test_integers_are_compared_without_overflow() -> None:
    reference = {"ids": np.array([[0], [200]], np.uint8)}
    found = compare({"ids": np.array([[1], [0]], np.uint8)}, reference)["ids"]
    assert (found.largest, found.worst) == (1, 1)


def test_other_names_or_shapes_are_refused() -> None:
    with pytest.raises(UserError, match="found the outputs a, expected a, b"):
        compare({"a": REFERENCE["a"]}, REFERENCE)
    with pytest.raises(UserError, match=r"output a: found the shape \[10, 2\], expected \[10, 4\]"):
        compare({"a": REFERENCE["a"][:, :2], "b": REFERENCE["b"]}, REFERENCE)
