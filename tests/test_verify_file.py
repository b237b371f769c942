"""`edgedistill verify FILE --against RUN`: the run's own files hold, changed ones do not, damaged and foreign ones are one clear error."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import edgedistill

from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.backends.inspect.precision import precision_of
from edgedistill.errors import UserError
from edgedistill.export.programs import load_signature
from edgedistill.records.inspection import Content, StoredTensors
from edgedistill.runs import open_run
from edgedistill.steps import flow
from edgedistill.steps.execute import execute

FORMATS = {"executorch": ".pte", "litert": ".tflite", "onnx": ".onnx", "coreml": ".mlpackage", "coreai": ".aimodel"}
FIELDS = {"file", "format", "precision", "sha256", "run", "ok", "parity", "score", "status"}


@pytest.fixture(scope="module")
def run(tiny: Path) -> Path:
    return tiny / "runs" / "tiny"


def own(run: Path, kind: str, precision: str) -> Path:
    return run / "artifacts" / f"student-{precision}{FORMATS[kind]}"


@pytest.mark.parametrize(
    ("kind", "precision", "reference", "executor"),
    [
        ("executorch", "int8", "integer", "own_runtime"),
        ("litert", "int8", "integer", "own_runtime"),
        ("onnx", "int8", "integer", "own_runtime"),
        ("coreml", "int8", "converted", "mil_float64"),
        ("coreai", "int8", "converted", "own_runtime"),
        ("onnx", "fp32", "student", "own_runtime"),
        ("executorch", "fp32", "student", "own_runtime"),
        ("litert", "fp32", "student", "own_runtime"),
        ("coreml", "fp16", "student", "mil_float16"),
        ("coreai", "fp32", "student", "own_runtime"),
    ],
)
def test_the_files_of_a_run_hold_under_any_name(
    run: Path, tmp_path: Path, kind: str, precision: str, reference: str, executor: str
) -> None:
    source, path = own(run, kind, precision), tmp_path / f"elsewhere{FORMATS[kind]}"
    shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
    found = flow.verify_file(path, run).model_dump(mode="json")
    assert found.keys() >= FIELDS
    assert (found["ok"], found["status"], found["format"], found["precision"]) == (True, "ok", kind, precision), found["parity"]
    assert (found["parity"]["reference"], found["executed_by"]) == (reference, executor)
    summary = json.loads((run / "summary.json").read_text())
    recorded = next(a for a in summary["artifacts"] if a["name"] == source.name)
    assert found["sha256"] == recorded["sha256"]
    assert found["score"]["file"] == recorded["score"]["val"]
    student = next(row for row in summary["ladder"] if row["rung"] == "student")
    assert found["score"]["student"] == student["score"]["val"]
    assert (found["own"]["name"], found["own"]["same"], found["own"]["parity"]) == (source.name, True, found["parity"])
    assert not any("the run's own" in warning for warning in found["warnings"])


def test_ort_is_executed_as_onnx_is(run: Path, tmp_path: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(own(run, "onnx", "int8")), options, providers=["CPUExecutionProvider"])
    found = flow.verify_file(tmp_path / "model.ort", run).model_dump(mode="json")
    assert (found["ok"], found["format"], found["precision"]) == (True, "ort", "int8"), found["parity"]


def _swapped(source: Path, path: Path) -> Path:
    """The file with two classes exchanged, in every constant that has one entry or row a class."""
    import onnx
    from onnx import numpy_helper

    model, swapped = onnx.load(source), 0
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if values.ndim in (1, 2) and values.shape[0] == 10:
            values[[2, 7]] = values[[7, 2]]
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            swapped += 1
    assert swapped >= 2, "weights and bias"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_two_classes_swapped_do_not_hold(run: Path, tmp_path: Path, precision: str) -> None:
    path = _swapped(own(run, "onnx", precision), tmp_path / "swapped.onnx")
    done = edgedistill("verify", path, "--against", run, "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert (found["ok"], found["status"], found["precision"]) == (False, "check_failed", precision)
    assert (found["own"]["name"], found["own"]["same"], found["own"]["ok"]) == (f"student-{precision}.onnx", False, True)
    exact = rf"student-int8\.onnx is (99|100)\.\d\d% exact on val, and {path} is \d\d\.\d\d%: it was changed"
    assert re.search({"int8": exact, "fp32": "within the rule on val, and"}[precision], found["warnings"][-1])
    # A fifth of the digits are twos and sevens.
    assert found["parity"]["flips"] > 40
    assert found["score"]["file"]["value"] < found["score"]["student"]["value"] - 0.1


def test_the_text_says_what_was_compared(run: Path, tmp_path: Path) -> None:
    path = _swapped(own(run, "onnx", "int8"), tmp_path / "swapped.onnx")
    done = edgedistill("verify", path, "--against", run, cwd=tmp_path)
    assert done.returncode == 3
    for part in (str(path), "onnx, int8", f"against integer of {run}", "predictions flipped", "the run's student", "CHECK FAILED: "):
        assert part in done.stdout
    done = edgedistill("verify", own(run, "litert", "int8"), "--against", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "100.00% exact" in done.stdout
    assert "CHECK FAILED" not in done.stdout


def test_what_the_runtime_refuses_is_a_failed_runtime(run: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(own(run, "onnx", "fp32"))
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Reluctant"
    onnx.save(model, tmp_path / "unknown.onnx")
    done = edgedistill("verify", "unknown.onnx", "--against", run, "--json", cwd=tmp_path)
    assert done.returncode == 4, done.stderr
    found = json.loads(done.stdout)
    assert (found["ok"], found["status"], found["executed_by"]) == (False, "runtime_failed", "unavailable")
    assert "Reluctant" in found["parity"]["unavailable"]
    assert found["score"]["file"]["value"] is None


@pytest.mark.slow
def test_what_only_core_ml_executes_is_no_failure(run: Path, tmp_path: Path) -> None:
    (image,), (logits,) = (ports := load_signature(run / "work/programs/student-float.pt2").forward).inputs, ports.outputs
    mil_program.prepare(1)
    import coremltools as ct
    from coremltools.converters.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec((1, *image.shape[1:]))], opset_version=ct.target.iOS17)
    def program(x: Any) -> Any:
        pooled = Builder.reduce_mean(x=x, axes=[1, 2, 3])
        noise = Builder.random_normal(shape=[1, logits.shape[1]], name="noise")
        return Builder.add(x=Builder.expand_dims(x=pooled, axes=[1]), y=noise)

    path = run / "artifacts/student-fp16.mlpackage"
    options = {"minimum_deployment_target": ct.target.iOS17, "skip_model_load": True}
    ct.convert(program, outputs=[ct.TensorType(dtype=np.float32)], **options).save(str(tmp_path / "noise.mlpackage"))
    why = "operators of its program are executed by Core ML only: random_normal (gives noise"
    done = edgedistill("verify", "noise.mlpackage", "--against", run, "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["status"], found["executed_by"]) == (0, None, "ok", "unavailable"), done.stderr
    assert found["parity"]["unavailable"].startswith(why)
    assert "not executed: " + why in edgedistill("verify", "noise.mlpackage", "--against", run, cwd=tmp_path).stdout
    # So is a file of a run itself.
    copy = shutil.copytree(run, tmp_path / "copy", symlinks=True)
    shutil.rmtree(copy / path.relative_to(run))
    shutil.copytree(tmp_path / "noise.mlpackage", copy / path.relative_to(run))
    with open_run(copy) as opened:
        spec = next(a for a in opened.artifacts() if a.path.endswith(path.name))
        execute(opened, flow._recipe(opened), [spec], "val")
        assert opened.result(f"val-{spec.name}")["unavailable"].startswith(why)


def _model(path: Path, size: int, classes: int) -> Path:
    """An ONNX file that takes [1, 3, size, size] and gives [1, classes]."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.ones((classes, 3 * size * size), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], transB=1)],
        "other",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, classes])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("size", "classes", "said"),
    [(16, 10, ("takes", "[1, 3, 16, 16]", "[1, 3, 32, 32]")), (32, 5, ("gives", "[1, 5]", "[1, 10]"))],
)
def test_another_model_is_refused_with_both_sizes(run: Path, tmp_path: Path, size: int, classes: int, said: tuple[str, ...]) -> None:
    path = _model(tmp_path / "other.onnx", size, classes)
    with pytest.raises(UserError) as error:
        flow.verify_file(path, run)
    for part in (str(path), str(run), *said):
        assert part in str(error.value)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _text(path: Path) -> None:
    path.write_text("The quick brown fox jumps over the lazy dog.\n" * 100)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), _truncated, _text], ids=["empty", "truncated", "foreign"])
@pytest.mark.parametrize("kind", list(FORMATS))
def test_a_damaged_file_is_one_clear_error(run: Path, tmp_path: Path, kind: str, damage: Callable[[Path], None]) -> None:
    source, path = own(run, kind, "int8"), tmp_path / f"damaged{FORMATS[kind]}"
    if source.is_dir():
        shutil.copytree(source, path)
        damage(next(path.rglob("*.ml*")))
    else:
        shutil.copy(source, path)
        damage(path)
    with pytest.raises(UserError, match=r"expected|Expected") as error:
        flow.verify_file(path, run)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.onnx", "--against", "RUN"], "missing.onnx does not exist"),
        (["missing.onnx"], "--against RUN"),
        (["--against", "RUN"], "verify FILE --against RUN"),
        (["missing.onnx", "--against", "nowhere"], "nowhere is not a run"),
        (["RUN", "--against", "RUN"], "expected a .pte"),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(run: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = edgedistill("verify", *(str(run) if a == "RUN" else a for a in arguments), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_without_the_reference_says_what_to_do(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "old"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("bundles", "artifacts", "teacher", "*.pt2"))
    shutil.rmtree(copy / "work" / "programs" / "rungs" / "integer")
    with pytest.raises(UserError, match=r"programs is not what was written there: .*`edgedistill run`"):
        flow.verify_file(own(run, "onnx", "int8"), copy)


@pytest.mark.parametrize(
    ("weights", "activations", "precision"),
    [
        (["int8", "float32", "int32"], ["uint8", "float32"], "int8"),
        (["float32", "int64", "int32", "uint16"], ["float32"], "fp32"),
        (["float16"], ["float16"], "fp16"),
        (["int8", "float32"], ["float32"], "mixed"),
        (["uint4", "float16"], ["float16"], "mixed"),
        (["int8", "float32"], ["int16"], "mixed"),
    ],
)
def test_precision_is_reported_by_weights_and_activations(weights: list[str], activations: list[str], precision: str) -> None:
    stored = dict.fromkeys(weights, StoredTensors(count=1, bytes=1))
    content = Content.model_construct(weights=stored, activations=dict.fromkeys(activations, 1))
    assert precision_of(content) == precision
