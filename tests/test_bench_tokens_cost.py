"""What requests take of a file that writes token by token: its latency and energy come from what was measured of generation."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_documents import bench
from test_cost import PHONE, assumed, written

from edgedistill.records import Latency, Unavailable
from edgedistill.records.cost import CostDocument, InferenceEnergy
from edgedistill.records.generation import CallTimes, Generation, GenerationEnergy, Intervals, PromptGeneration
from edgedistill.records.stored import DeviceBench
from edgedistill.steps.cost.document import cost

NONE = Unavailable(unavailable="not asked for")


def times(p50: float) -> CallTimes:
    bounds = Intervals(p50=(p50, p50), p95=NONE, p99=NONE)
    return CallTimes(latency_ms=Latency(p50=p50, p95=1.5 * p50, p99=NONE, n=40), intervals_ms=bounds)


def prompt(tokens: int, prefill: float, decode: float | Unavailable, energy: GenerationEnergy | Unavailable = NONE) -> PromptGeneration:
    """What sequences take that read and write at these rates, in tokens/s, with 11 new tokens."""
    first, rest = 1000 * tokens / prefill, 0.0 if isinstance(decode, Unavailable) else 1000 * 10 / decode
    return PromptGeneration(
        prompt_tokens=tokens, first_token=times(first), next_token=times(rest / 10), last_token=times(first + rest),
        prefill_tokens_per_s=prefill, decode_tokens_per_s=decode, steady=True, peak_rss_mb=NONE, energy=energy,
    )  # fmt: skip


def spent(mj: float) -> GenerationEnergy:
    """3 W above the idle device, for 20 sequences of 11 tokens."""
    bounds = (0.9 * mj, 1.1 * mj)
    return GenerationEnergy(mj_per_token=mj, interval=bounds, idle_w=1.0, power_w=4.0, source="power.pmic", window_s=mj * 220 / 3000, n=220)


def costs(folder: Path, *prompts: PromptGeneration, context: Any = 1024, **tokens: float) -> CostDocument:
    """Of a student with this generation, whose requests have these tokens."""
    made = Generation(context=context, state_bytes=4096, new_tokens=11, by_prompt=list(prompts))
    measurement = bench(PHONE, "student-int8.onnx", 99.0, generation=made)
    file = written(folder, DeviceBench(device=PHONE, status="ok", measurements=[measurement]))
    usage: dict[str, Any] = {"requests_per_session": 5, "sessions_per_user_month": 20}
    given = usage | ({"tokens_per_request": tokens} if tokens else {})
    return cost(file, assumed(folder, teacher={"price": {"per_request": 0.001}}, usage=given))


SHORT, LONG = prompt(100, 1000, 50), prompt(500, 2000, 40)


def test_a_request_is_its_prompt_and_its_further_tokens_at_interpolated_rates(tmp_path: Path) -> None:
    found = costs(tmp_path, SHORT, LONG, input=200, cached_input=100, output=21)
    # Halfway between the prompts: 300 tokens at 1500/s, and 20 at 45/s. The 99 ms of a single call say nothing of a request.
    assert found.student.latency_ms.estimate == pytest.approx(200 + 20 / 45 * 1000)
    assert isinstance(found.student.latency_ms.p50, Unavailable)
    assert found.student.latency_ms.source == f"rates of tokens of student-int8.onnx on {PHONE}"
    assert "a call with its prompt" in found.notes[1]
    assert "generation" not in found.model_dump(mode="json")["student"]


@pytest.mark.parametrize(("read", "expected"), [(50, 50 + 400), (100.0, 100 + 400), (900, 450 + 500)])
def test_beyond_the_prompts_that_were_measured_the_nearest_rates_count(tmp_path: Path, read: float, expected: float) -> None:
    assert costs(tmp_path, SHORT, LONG, input=read, output=21).student.latency_ms.estimate == pytest.approx(expected)


def test_a_request_with_the_tokens_that_were_measured_has_measured_figures(tmp_path: Path) -> None:
    latency = costs(tmp_path, SHORT, LONG, input=500, output=11).student.latency_ms
    assert (latency.p50, latency.p95, latency.estimate) == (pytest.approx(500), pytest.approx(750), None)
    assert latency.source == f"generation by student-int8.onnx on {PHONE}, measured"


def test_a_request_that_does_not_fit_and_one_of_unknown_length_have_no_latency(tmp_path: Path) -> None:
    long = costs(tmp_path, SHORT, LONG, input=1020, output=6).student.latency_ms
    assert long.estimate == Unavailable(unavailable="a request has 1026 tokens, and the file takes 1024")
    assert isinstance(costs(tmp_path, SHORT, LONG, input=1020, output=5).student.latency_ms.estimate, float)
    unknown = costs(tmp_path, SHORT).student
    assert isinstance(unknown.latency_ms.estimate, Unavailable)
    assert "usage.tokens_per_request is not given" in unknown.latency_ms.estimate.unavailable
    assert isinstance(unknown.energy, Unavailable)
    once = costs(tmp_path, prompt(100, 1000, NONE), input=200, output=3).student.latency_ms
    assert once.estimate == NONE
    assert costs(tmp_path, prompt(100, 1000, NONE), input=200, output=1).student.latency_ms.estimate == pytest.approx(200)


def test_the_energy_of_a_request_grows_with_its_time(tmp_path: Path) -> None:
    # A sequence of 300 ms takes 900 mJ above the idle device, so each of its 11 tokens 900 / 11.
    measured = prompt(100, 1000, 50, spent(900 / 11))
    found = costs(tmp_path, measured, input=200, output=21).student
    assert found.latency_ms.estimate == pytest.approx(200 + 400)
    assert isinstance(found.energy, InferenceEnergy)
    assert found.energy.mj_per_inference == pytest.approx(3.0 * 600)
    assert found.energy.interval == pytest.approx((0.9 * 1800, 1.1 * 1800))
    lost = costs(tmp_path, prompt(100, 1000, 50, spent(900 / 11).model_copy(update={"mj_per_token": -0.1})), input=200, output=21)
    assert isinstance(lost.student.energy, Unavailable)
    assert costs(tmp_path, SHORT, input=200, output=21).student.energy == NONE


def test_measurements_without_generation_stay_as_they_were(tmp_path: Path) -> None:
    single = bench(PHONE, "student-int8.onnx", 1.25, generation=Unavailable(unavailable="the file keeps no state"))
    found = cost(written(tmp_path, DeviceBench(device=PHONE, status="ok", measurements=[single])), assumed(tmp_path))
    assert found.student.latency_ms.p50 == 1.25
    assert "One inference answers one request" in found.notes[1]
    assert json.loads(found.model_dump_json())["student"]["tokens"] is None
