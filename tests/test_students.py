"""Candidates compared before training, and what runtimes leave to slow kernels."""

import json
from pathlib import Path

import jsonschema
import pytest
from conftest import edgedistill

from edgedistill.backends.delegation import delegation
from edgedistill.errors import DeviceFailed
from edgedistill.records import Latency, Unavailable
from edgedistill.records.students import StudentComparison


@pytest.mark.parametrize(
    ("kind", "suffix", "partitions", "outside"),
    [
        ("executorch", ".pte", 1, {}),
        # XNNPACK takes no padding with the smallest integer, which comes before a maximum.
        ("litert", ".tflite", 2, {"PADV2": 1}),
        ("onnx", ".onnx", 1, {}),
    ],
)
def test_what_a_runtime_leaves_to_slow_kernels_is_named(kind: str, suffix: str, partitions: int, outside: dict, tiny: Path) -> None:
    path = tiny / f"runs/tiny/artifacts/student-int8{suffix}"
    found = delegation(kind, path)
    assert (found.partitions, found.outside) == (partitions, outside)


def test_a_float_file_is_not_in_integer_kernels(tiny: Path) -> None:
    outside = delegation("onnx", tiny / "runs/tiny/artifacts/student-fp32.onnx").outside
    assert sum(outside.values()) > 5


def test_a_file_that_does_not_open_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"nothing of the kind")
    with pytest.raises(DeviceFailed, match=r"x\.tflite: litert does not open it"):
        delegation("litert", tmp_path / "x.tflite")


@pytest.mark.slow
def test_students_are_compared_before_any_is_trained(tmp_path: Path) -> None:
    command = ["students", "test_resnet", "--target", "android", "--image-size", 32, "--classes", 10, "--json"]
    done = edgedistill(*command, "--max-ms", 1000, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout)
    jsonschema.validate(document, StudentComparison.model_json_schema(mode="serialization", by_alias=True))
    (good,) = document["students"]
    assert document["format"] == "executorch"
    assert good["fits"] is True
    assert (good["delegation"]["partitions"], good["delegation"]["outside"]) == (1, {})
    assert good["latency_ms"]["p50"] > 0
    assert good["bytes"] < 2 * good["parameters"]
    # A convolution of 3 x 3 over 3 channels to 32, at stride 2: 16^2 * 27 * 32, and more behind it.
    assert good["macs"] > 16**2 * 27 * 32


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mobilenet_v4"], "timm has no model 'mobilenet_v4'; did you mean"),
        (["--activation", "swish"], "found --activation swish, expected relu or relu6"),
        (["--device", "adb:1"], "found device 'adb:1', expected local"),
        (["--target", "mac.yaml"], "target mac.yaml has coreml int8; expected an int8 format that runs on this machine"),
    ],
)
def test_wrong_options_are_reported_at_once(arguments: list[str], told: str, tmp_path: Path) -> None:
    artifacts = "[{format: coreml, precision: int8}]"
    (tmp_path / "mac.yaml").write_text(f"name: mac\ndescription: A Mac.\nminimum_os: macOS 14\nartifacts: {artifacts}\n")
    done = edgedistill("students", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_student_that_can_not_be_lowered_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedistill.steps import students

    def lowered(run: object, model: object, asked: object, facts: list) -> tuple[int, Unavailable]:
        if facts[0] == "test_vit":
            raise ValueError("an operator is not known")
        return 1, Unavailable(unavailable="not asked here")

    monkeypatch.setattr(students, "_lowered", lowered)
    monkeypatch.setattr(students, "_measured", lambda *_: (Latency(p50=2.0, p95=3.0, p99=3.0, n=30), True))
    found = students.students(["test_vit", "test_resnet"], "android", tmp_path, classes=10, image_size=32, max_ms=1.0).students
    assert [row.model for row in found] == ["test_resnet", "test_vit"]
    assert [row.fits for row in found] == [False, None]
    assert found[1].latency_ms == Unavailable(unavailable="ValueError: an operator is not known")
