"""`edgedistill cost`: what requests cost, from measurements and assumptions."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import edgedistill
from made_documents import bench, made_result
from test_bench_file import save

from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError
from edgedistill.records import Record, Unavailable
from edgedistill.records.cost import CostDocument
from edgedistill.records.documents import documents
from edgedistill.records.measurements import TokenRates
from edgedistill.records.stored import DeviceBench, FailedDevice, FleetBench, Results
from edgedistill.runs import open_run
from edgedistill.steps.cost.assumptions import load_assumptions
from edgedistill.steps.cost.document import cost
from edgedistill.steps.flow import bench_file

EXAMPLE = Path(__file__).parent.parent / "examples/cost/prices.yaml"
PHONE = "adb:0A1B2C"
ASSUMED: dict[str, Any] = {
    "currency": "EUR",
    "teacher": {
        "price": {"per_million_input_tokens": 2, "per_million_cached_input_tokens": 0.5, "per_million_output_tokens": 8},
        "latency_ms": {"p50": 500, "p95": 1500},
    },
    "usage": {
        "requests_per_session": 5, "sessions_per_user_month": 20, "active_users": 1000,
        "tokens_per_request": {"input": 700, "cached_input": 200, "output": 50},
    },
    "student": {
        "download": {"price_per_gb": 0.5, "per_user_month": 0.25}, "support_per_user_month": 0.02, "electricity_price_per_kwh": 0.36,
    },
    "distillation": {"one_time": 1200, "months": 6},
}  # fmt: skip
"""A request of the teacher: 700 * 2 + 200 * 0.5 + 50 * 8 = 1900 millionths."""


def assumed(folder: Path, **changes: Any) -> Path:
    """The file of ASSUMED, with other parts. JSON is YAML too."""
    path = folder / "prices.yaml"
    path.write_text(json.dumps(ASSUMED | changes))
    return path


def measured(folder: Path, *names: str, **changes: Any) -> Path:
    """What `bench --device` printed of files on a phone: 4 MB each, 1.25 ms, 3.1 mJ."""
    measurements = [bench(PHONE, name, 1.25, **changes) for name in names or ["student-int8.tflite"]]
    return written(folder, DeviceBench(device=PHONE, status="ok", measurements=measurements))


def written(folder: Path, document: Record) -> Path:
    path = folder / "bench.json"
    document.write(path)
    return path


def test_prices_become_costs_of_each_unit_of_use(tmp_path: Path) -> None:
    found = cost(measured(tmp_path), assumed(tmp_path))
    assert dict(found.teacher) == pytest.approx({"request": 0.0019, "session": 0.0095, "user_month": 0.19, "month": 190})
    parts = found.student_costs
    # 0.004 GB * 0.5 EUR * 0.25 downloads.
    assert parts.download.user_month == pytest.approx(0.0005)
    assert parts.distillation.month == pytest.approx(200)
    assert dict(parts.total) == pytest.approx({"request": 0.002205, "session": 0.011025, "user_month": 0.2205, "month": 220.5})
    assert found.energy.joules.request == pytest.approx(0.0031)
    # 0.0031 J * 100 requests / 3.6 MJ * 0.36 EUR.
    assert found.energy.price.user_month == pytest.approx(3.1e-8)


def test_latencies_stand_side_by_side_with_their_sources(tmp_path: Path) -> None:
    found = cost(measured(tmp_path), assumed(tmp_path))
    assert (found.teacher_latency_ms.p50, found.teacher_latency_ms.p95) == (500, 1500)
    assert found.teacher_latency_ms.source == f"given in {tmp_path / 'prices.yaml'}"
    assert (found.student.latency_ms.p50, found.student.latency_ms.p95) == (1.25, 1.375)
    assert found.student.latency_ms.source == f"student-int8.tflite on {PHONE}, measured"


def test_the_one_time_cost_comes_back(tmp_path: Path) -> None:
    point = cost(measured(tmp_path), assumed(tmp_path)).break_even
    saved = 0.19 - 0.0205
    assert point.saved_per_user_month == pytest.approx(saved)
    assert point.user_months == 7080  # 1200 / 0.1695 = 7079.6
    assert point.requests == 707_965  # 707 964.6
    assert point.months == pytest.approx(1200 / saved / 1000)
    assert point.active_users == 1180


def test_a_part_of_a_request_is_a_whole_one_and_rounding_errors_are_none(tmp_path: Path) -> None:
    free = {"download": {"price_per_gb": 0, "per_user_month": 1}, "support_per_user_month": 0}
    file, teacher = measured(tmp_path), {"price": {"per_request": 0.0007}}
    point = cost(file, assumed(tmp_path, teacher=teacher, student=free, distillation={"one_time": 7.028, "months": 1})).break_even
    assert (point.user_months, point.requests, point.active_users) == (101, 10_040, 101)  # 100.4
    # 7 / (0.0007 * 100) is more than 100 in floating point.
    point = cost(file, assumed(tmp_path, teacher=teacher, student=free, distillation={"one_time": 7, "months": 1})).break_even
    assert (point.user_months, point.requests, point.active_users) == (100, 10_000, 100)


def test_a_cheap_teacher_has_no_break_even(tmp_path: Path) -> None:
    point = cost(measured(tmp_path), assumed(tmp_path, teacher={"price": {"per_request": 0.0002}})).break_even
    assert point.saved_per_user_month == pytest.approx(0.02 - 0.0205)
    for figure in (point.requests, point.user_months, point.months, point.active_users):
        assert isinstance(figure, Unavailable)
        assert figure.unavailable.startswith("never: ")


def test_what_is_not_known_is_unavailable_with_the_reason(tmp_path: Path) -> None:
    usage = {"requests_per_session": 5, "sessions_per_user_month": 20}
    sparse = assumed(tmp_path, teacher={"price": {"per_request": 0.001}}, usage=usage, student={})
    found = cost(measured(tmp_path, energy=Unavailable(unavailable="no sensor of this device reports power")), sparse)
    assert found.teacher.user_month == pytest.approx(0.1)
    assert found.teacher.month == Unavailable(unavailable="usage.active_users is not given")
    download, support = found.student_costs.download, found.student_costs.support
    for part, why in (
        (download.request, "student.download is not given"),
        (support.session, "student.support_per_user_month is not given"),
    ):
        assert isinstance(part, Unavailable)
        assert part.unavailable.startswith(why)
    total = found.student_costs.total.user_month
    assert isinstance(total, Unavailable)
    none = "(write 0 where there is no such cost)"
    reasons = [f"student.download is not given {none}", f"student.support_per_user_month is not given {none}"]
    assert total.unavailable.split("; ") == [*reasons, "usage.active_users is not given"]
    # No reason twice, although two parts of the sum lack the users.
    month = found.student_costs.total.month
    assert isinstance(month, Unavailable)
    assert sorted(month.unavailable.split("; ")) == sorted([*reasons, "usage.active_users is not given"])
    assert found.student_costs.distillation.month == pytest.approx(200)
    assert found.energy.joules.request == Unavailable(unavailable="no sensor of this device reports power")
    assert isinstance(found.energy.price.request, Unavailable)
    assert "electricity_price_per_kwh is not given" in found.energy.price.request.unavailable
    assert isinstance(found.break_even.requests, Unavailable)
    assert isinstance(found.teacher_latency_ms.p50, Unavailable)
    assert found.assumptions.values["usage"]["active_users"] is None


def test_without_the_number_of_users_only_the_share_of_each_is_unknown(tmp_path: Path) -> None:
    usage = {key: value for key, value in ASSUMED["usage"].items() if key != "active_users"}
    point = cost(measured(tmp_path), assumed(tmp_path, usage=usage)).break_even
    assert (point.user_months, point.active_users) == (7080, 1180)
    assert point.months == Unavailable(unavailable="usage.active_users is not given")


def test_energy_that_is_lost_in_the_idle_power_is_none(tmp_path: Path) -> None:
    energy = {"mj_per_inference": -0.2, "interval": [-1.0, 0.6], "idle_w": 3.0, "power_w": 3.0, "source": "p", "window_s": 1.0, "n": 9}
    found = cost(measured(tmp_path, energy=energy), assumed(tmp_path))
    assert isinstance(found.energy.joules.request, Unavailable)
    assert "-0.2 mJ" in found.energy.joules.request.unavailable


def test_rates_of_tokens_give_an_estimate(tmp_path: Path) -> None:
    none = Unavailable(unavailable="an LLM runner times tokens")
    rates = TokenRates(
        prompt_tokens=8, generated_tokens=8, time_to_first_token_ms=20.0, prompt_tokens_per_s=300.0, decode_tokens_per_s=49.0
    )
    file = measured(tmp_path, llm=rates, latency_ms={"p50": none, "p95": none, "p99": none, "n": 8}, energy=None)
    latency = cost(file, assumed(tmp_path)).student.latency_ms
    assert (latency.p50, latency.p95) == (none, none)
    # 900 tokens are read in 3 s; the first of 50 comes then, and the other 49 take 1 s.
    assert latency.estimate == pytest.approx(4000)


def run_folder(folder: Path) -> Path:
    """A run whose files were measured here, and its .tflite on a phone, too."""
    times = {"p50": 2.0, "p95": 3.0, "p99": 4.0, "n": 400}
    made = [
        made_result("onnx", "fp32", bytes=9_000_000, latency_ms=times),
        made_result("onnx", "int8", bytes=3_000_000, latency_ms=times),
        made_result("onnx", "fp32", role="teacher", bytes=20_000_000, latency_ms=times | {"p50": 8.0}),
    ]
    older = bench(PHONE, "student-int8.tflite", 9.0, created="2026-11-20T15:00:00+00:00")
    devices = [older, bench(PHONE, "student-int8.tflite", 1.25)]
    run = folder / "runs" / "mine"
    with open_run(run):
        pass
    content = {"artifacts": [a.model_dump(mode="json") for a in made], "devices": [d.model_dump(mode="json") for d in devices]}
    (run / "summary.json").write_text(json.dumps(content))
    return run


def test_a_run_gives_the_newest_measurement_on_a_device_or_what_is_asked_for(tmp_path: Path) -> None:
    run, prices = run_folder(tmp_path), assumed(tmp_path, teacher={"price": {"per_request": 0.001}})
    found = cost(run, prices)
    assert (found.student.name, found.student.device, found.student.latency_ms.p50) == ("student-int8.tflite", PHONE, 1.25)
    assert found.teacher_latency_ms.p50 == 8.0
    assert found.teacher_latency_ms.source == "teacher-fp32.onnx on this machine, measured"
    here = cost(run, prices, device="local").student
    assert (here.name, here.bytes, here.validity) == ("student-int8.onnx", 3_000_000, None)
    assert isinstance(here.energy, Unavailable)
    assert cost(run, prices, artifact="student-fp32.onnx").student.bytes == 9_000_000
    with pytest.raises(UserError, match=r"student-int8\.ort on local, expected one of .*did you mean 'student-int8\.onnx on local'"):
        cost(run, prices, artifact="student-int8.ort", device="local")
    (run / "summary.json").unlink()
    with pytest.raises(UserError, match=r"has no summary\.json yet"):
        cost(run, prices)


def test_a_measurement_that_failed_is_not_preferred(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    content = json.loads((run / "summary.json").read_text())
    for device in content["devices"]:
        device["latency_ms"] = {"value": None, "unavailable": "the phone was unplugged"}
    (run / "summary.json").write_text(json.dumps(content))
    assert cost(run, assumed(tmp_path)).student.name == "student-int8.onnx"
    failed = cost(run, assumed(tmp_path), device=PHONE).student
    assert failed.latency_ms.p50 == failed.latency_ms.p95 == Unavailable(unavailable="the phone was unplugged")


def test_what_bench_measured_of_a_file_here(tmp_path: Path) -> None:
    file = written(tmp_path, bench_file(save(tmp_path / "model.onnx")))
    found = cost(file, assumed(tmp_path))
    assert (found.student.name, found.student.bytes) == ("model.onnx", (tmp_path / "model.onnx").stat().st_size)
    assert isinstance(found.student.latency_ms.p50, float)
    assert found.student.latency_ms.p50 > 0


@pytest.mark.parametrize("kind", ["bench-devices", "results"])
def test_documents_of_several_measurements(tmp_path: Path, kind: str) -> None:
    one = bench(PHONE, "student-int8.tflite", 1.25)
    failed = FailedDevice(device="ssh:pi@pi5", status="runtime_failed", error="no route to host")
    document: Record = FleetBench(status="ok", devices=[failed, DeviceBench(device=PHONE, status="ok", measurements=[one])])
    if kind == "results":
        document = Results(measurements=[{"id": 1, "name": "main"} | one.model_dump()])
    assert cost(written(tmp_path, document), assumed(tmp_path)).student.latency_ms.p50 == 1.25


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is damaged"),
        ("[]", "holds something else"),
        ('{"report": "r.html"}', "holds something else"),
        ('{"device": "local", "status": "ok", "measurements": []}', "holds no measurement"),
    ],
)
def test_a_file_without_measurements_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(UserError, match=said):
        cost(tmp_path / "bench.json", assumed(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"teacher": {"price": {}}}, "teacher.price: found no price, expected per_request, or"),
        ({"teacher": {"price": {"per_million_input_tokens": 1}}}, "teacher.price: .* expected also per_million_output_tokens"),
        ({"usage": {"requests_per_session": 1, "sessions_per_user_month": 1}}, "usage: found none, expected tokens_per_request"),
        (
            {"teacher": {"price": {"per_million_input_tokens": 1, "per_million_output_tokens": 1}}},
            "usage: found 200 cached tokens, expected teacher.price.per_million_cached_input_tokens",
        ),
    ],
)
def test_prices_and_use_that_do_not_fit_each_other(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_assumptions(assumed(tmp_path, **change))


def test_all_mistakes_are_told_with_file_and_line(tmp_path: Path) -> None:
    measured(tmp_path)
    (tmp_path / "bad.yaml").write_text(
        "currency: euro\nteacher: {price: {per_request: 0.1}}\nusage:\n  requests_per_session: 0\n"
        "  sessions_per_user_months: 20\ndistillation: {one_time: many, months: 12}\n"
    )
    done = edgedistill("cost", "bench.json", "--assumptions", "bad.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 2
    errors = json.loads(done.stdout)["error"]["errors"]
    places = [error.split(" ")[0] for error in errors]
    assert places == ["bad.yaml:1:", "bad.yaml:4:", "bad.yaml:5:", "bad.yaml:6:"]
    assert "did you mean 'sessions_per_user_month'?" in errors[2]
    assert errors[3] == 'bad.yaml:6: distillation.one_time: found "many", expected a number'


def test_the_command_prints_every_assumption_and_the_document_keeps_to_its_schema(tmp_path: Path) -> None:
    measured(tmp_path)
    done = edgedistill("cost", "bench.json", "--assumptions", EXAMPLE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in (
        "teacher.price.per_request",
        "not given",
        "usage.active_users",
        "10000",
        "costs the operator nothing",
        "Break-even: before",
    ):
        assert text in done.stdout
    assert "unavailable: teacher.latency_ms is not given, and no teacher was measured (latency of the teacher)" in done.stdout
    printed = json.loads(edgedistill("cost", "bench.json", "--assumptions", EXAMPLE, "--json", cwd=tmp_path).stdout)
    schema = documents()["cost"].model_json_schema(mode="serialization", by_alias=True)
    jsonschema.validate(printed, schema)
    assert CostDocument.model_validate(printed).model_dump(mode="json") == printed
    assert printed["teacher_latency_ms"]["p50"]["value"] is None


def test_the_command_imports_nothing_heavy(tmp_path: Path) -> None:
    measured(tmp_path)
    command = [sys.executable, "-X", "importtime", "-m", "edgedistill", "cost", "bench.json", "--assumptions", str(EXAMPLE)]
    trace = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr
    imported = {line.rsplit("|", 1)[1].strip() for line in trace.splitlines() if line.startswith("import time:")}
    assert not imported & {"torch", "numpy", "onnx", "scipy"}
