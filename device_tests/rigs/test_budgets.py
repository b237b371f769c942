import pytest

from device_tests.budgets import budgets, figure
from edgedistill.recipe.base import RecipeError


def test_limits_are_the_targets_and_those_that_were_given(tmp_path) -> None:
    assert budgets("somebody-elses", None, ["p50_ms=8", "p50_ms=9.5"]) == {"p50_ms": 9.5}
    assert "partitions" not in budgets("linux", None, []), "what is counted in the file was checked when it was exported"
    with pytest.raises(RecipeError, match="no target 'linus'"):
        budgets("linux", "linus", [])


@pytest.mark.parametrize("given", ["p50_ms", "p50_ms=fast", "p51_ms=3"])
def test_a_budget_that_there_is_none_of_is_told(given: str) -> None:
    with pytest.raises(pytest.UsageError, match=given.split("=", maxsplit=1)[0]):
        budgets("linux", None, [given])


def test_a_figure_is_a_number_or_the_reason_why_there_is_none() -> None:
    told = {"latency_ms": {"p50": 3.0, "p99": {"value": None, "unavailable": "too few"}}, "energy": {"value": None, "unavailable": "USB"}}
    assert [figure(told, name) for name in ("p50_ms", "p99_ms", "mj_per_inference")] == [3.0, "too few", "USB"]
