"""`edgedistill bench FILE`: measured alone, and one clear error for what can't be."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from conftest import edgedistill
from onnx import TensorProto, helper

from edgedistill.errors import UserError
from edgedistill.steps import flow


def save(path: Path, operator: str = "Flatten", kind: int = TensorProto.FLOAT, shape: Any = ("batch", 3, 8, 8), inputs: int = 1) -> Path:
    ports = [helper.make_tensor_value_info(f"x{i}", kind, shape) for i in range(inputs)]
    output = helper.make_tensor_value_info("y", kind, ("batch", "features"))
    domain = "" if operator == "Flatten" else "made.up"
    node = helper.make_node(operator, ["x0"], ["y"], domain=domain)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("made.up", 1)]
    onnx.save(helper.make_model(helper.make_graph([node], "g", ports, [output]), opset_imports=opsets, ir_version=8), path)
    return path


def test_a_file_is_measured_without_a_run(tmp_path: Path) -> None:
    save(tmp_path / "model.onnx")
    done = edgedistill("bench", "model.onnx", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["status"], document["format"]) == ("ok", "onnx")
    assert document["inputs"] == [{"name": "x0", "dtype": "float32", "shape": [1, 3, 8, 8]}]
    assert document["outputs"] == [{"name": "y", "dtype": "float32", "shape": [1, 192]}]
    assert 0 < document["latency_ms"]["p50"] < 50
    assert document["latency_ms"]["n"] >= 50
    assert document["median_interval_ms"][0] <= document["latency_ms"]["p50"] <= document["median_interval_ms"][1]
    assert set(document["versions"]) == {"onnxruntime"}


def test_a_runtime_that_fails_is_reported_with_its_words(tmp_path: Path) -> None:
    document = flow.bench_file(save(tmp_path / "model.onnx", operator="Unheard")).model_dump(mode="json")
    assert document["status"] == "runtime_failed"
    assert "Unheard" in document["latency_ms"]["unavailable"]
    assert "The log is" not in document["latency_ms"]["unavailable"]


@pytest.mark.parametrize(
    "options", [{"inputs": 2}, {"kind": TensorProto.INT64}, {"shape": (1, 8)}], ids=["two inputs", "integers", "no image"]
)
def test_inputs_of_any_number_type_and_rank_are_measured(tmp_path: Path, options: dict[str, Any]) -> None:
    document = flow.bench_file(save(tmp_path / "model.onnx", **options)).model_dump(mode="json")
    assert document["status"] == "ok", document
    assert len(document["inputs"]) == options.get("inputs", 1)
    assert document["latency_ms"]["p50"] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shape": (1, 3, "height", 8)}, "expected sizes for height"),
        ({"kind": TensorProto.STRING}, "x0 is string, which is no tensor of float32"),
    ],
)
def test_an_input_of_unknown_size_or_type_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        flow.bench_file(save(tmp_path / "model.onnx", **options))


@pytest.mark.parametrize(
    ("name", "content"), [("a.pte", b""), ("a.tflite", b"\x1c\0\0\0TFL3" + b"\1" * 40), ("a.onnx", b"GGUF"), ("a.txt", b"x")]
)
def test_damaged_empty_and_foreign_files_are_one_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"expected|Expected"):
        flow.bench_file(tmp_path / name)
