import pytest

from device_tests.budgets import budgets, figure
from edgedistill.recipe.base import RecipeError
from edgedistill.records import Latency, Unavailable
from edgedistill.records.measurements import Measurement


def test_limits_are_the_targets_and_those_that_were_given(tmp_path) -> None:
    assert budgets("somebody-elses", None, ["p50_ms=8", "p50_ms=9.5"]) == {"p50_ms": 9.5}
    assert "partitions" not in budgets("linux", None, []), "what is counted in the file was checked when it was exported"
    mine = tmp_path / "mine.yaml"
    artifact = "{format: onnx, precision: int8}"
    mine.write_text(f"name: mine\ndescription: A board.\nminimum_os: any\nartifacts: [{artifact}]\ndevice_budgets: {{p95_ms: 12}}\n")
    assert budgets("linux", str(mine), ["p50_ms=8"]) == {"p50_ms": 8.0, "p95_ms": 12.0}
    with pytest.raises(RecipeError, match="no target 'linus'"):
        budgets("linux", "linus", [])


@pytest.mark.parametrize("given", ["p50_ms", "p50_ms=fast", "p51_ms=3"])
def test_a_budget_that_there_is_none_of_is_reported(given: str) -> None:
    with pytest.raises(pytest.UsageError, match=given.split("=", maxsplit=1)[0]):
        budgets("linux", None, [given])


def test_a_figure_is_a_number_or_the_reason_why_there_is_none() -> None:
    unknown = Unavailable(unavailable="too few")
    measured = Measurement.model_construct(
        latency_ms=Latency(p50=3.0, p95=unknown, p99=unknown, n=7), energy=Unavailable(unavailable="USB")
    )  # fmt: skip
    assert [figure(measured, name) for name in ("p50_ms", "p99_ms", "mj_per_inference")] == [3.0, "too few", "USB"]
