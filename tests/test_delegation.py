"""What runtimes leave to slow kernels and why, and the budgets of targets that it is held against."""

import copy
import json
import shutil
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  registers the operators of the converted program
from conftest import edgedistill
from made_documents import made_result
from onnx import TensorProto, helper

from edgedistill.backends.delegation import delegation
from edgedistill.backends.delegation.nodes import Node, Reading, report
from edgedistill.backends.delegation.reasons import why
from edgedistill.backends.litert.delegation import module_name
from edgedistill.cli.tables import show_artifacts
from edgedistill.errors import DeviceFailed
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.targets import list_targets, load_target
from edgedistill.records import ArtifactResult
from edgedistill.records.documents import Exported
from edgedistill.records.results import Layer
from edgedistill.report import delegation as shown
from edgedistill.report import layers, render
from edgedistill.report.artifacts import delegation_of
from edgedistill.run import Run, Step
from edgedistill.steps import flow
from edgedistill.verify import judge
from edgedistill.verify.failures import failures

TARGET = """name: board
description: A board.
minimum_os: Linux
artifacts: [{format: litert, precision: int8}]
budgets: {partitions: 1, fallbacks: 0}
"""
PADDING = [("PADV2", "model.maxpool", "pads with zero")]
LEFT = {"partitions": 2, "outside": {"PADV2": 1}, "operators": {}, "fallbacks": [], "transposes": {}, "layers": [], "macs": 0, "bytes": 0}


def test_an_operator_on_a_constant_and_a_float_computes_in_float(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    half, one = (helper.make_tensor(name, TensorProto.FLOAT, [4], [value] * 4) for name, value in (("half", 0.5), ("one", 1.0)))
    nodes = [
        helper.make_node("Mul", ["half", "x"], ["m"]),
        helper.make_node("Tanh", ["m"], ["t"]),
        helper.make_node("Add", ["one", "t"], ["y"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [half, one]), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.save(model, tmp_path / "x.onnx")
    found = delegation("onnx", tmp_path / "x.onnx")
    assert found.operators == {"float": {"Mul": 1, "Tanh": 1, "Add": 1}}


@pytest.mark.parametrize(
    ("kind", "suffix", "inside", "fallbacks", "transposes"),
    [
        ("executorch", ".pte", {"XnnpackBackend": {"Conv2d": 15, "MaxPooling2d": 1}}, [], {"StaticTranspose": 2}),
        ("litert", ".tflite", {"XNNPACK": {"CONV_2D": 15}, "builtin": {"PADV2": 1}}, PADDING, {"TRANSPOSE": 1}),
        ("onnx", ".onnx", {"integer": {"QLinearConv": 19, "QLinearGlobalAveragePool": 1}}, [], {"Transpose": 2}),
    ],
)
def test_who_computes_what_and_why(
    kind: str, suffix: str, inside: dict[str, Any], fallbacks: list[tuple[str, str, str]], transposes: dict[str, int], tiny: Path
) -> None:
    found = delegation(kind, tiny / f"runs/tiny/artifacts/student-int8{suffix}")
    for by, operators in inside.items():
        assert operators.items() <= found.operators[by].items()
    assert [(f.operator, f.count, f.layers) for f in found.fallbacks] == [(operator, 1, [name]) for operator, name, _ in fallbacks]
    for fallback, (_, _, words) in zip(found.fallbacks, fallbacks, strict=True):
        assert words in fallback.why
    assert found.transposes == transposes


def test_core_ml_tells_its_operators_and_that_the_device_decides(tiny: Path) -> None:
    found = delegation("coreml", tiny / "runs/tiny/artifacts/student-int8.mlpackage")
    assert "decides on the device" in found.unavailable
    assert {"conv": 19, "max_pool": 1, "linear": 1}.items() <= found.operators["program"].items()
    assert "const" not in found.operators["program"]


def test_core_ai_tells_its_operators_and_that_the_device_decides(tiny: Path) -> None:
    found = delegation("coreai", tiny / "runs/tiny/artifacts/student-int8.aimodel")
    assert "decides on the device" in found.unavailable
    assert {"conv2d": 19, "blockwise_shift_scale": 20, "broadcasting_batch_matmul": 1}.items() <= found.operators["program"].items()
    assert "constant" not in found.operators["program"]


def test_each_layer_has_its_macs_its_bytes_and_its_delegate(tiny: Path) -> None:
    run = tiny / "runs/tiny"
    program = torch.export.load(run / "work/programs/student-converted.pt2").graph_module
    shape = {n.name: n.meta["val"].shape for n in program.graph.nodes if isinstance(n.meta.get("val"), torch.Tensor)}
    weighted = [n for n in program.graph.nodes if str(n.target).partition(".")[2].split(".")[0] in ("conv2d", "linear")]
    # A convolution of 1 to 3 groups among them: the normalisation is depthwise.
    macs = sorted(prod(shape[n.name]) * prod(shape[n.args[1].name][1:]) for n in weighted)
    weights = sum(prod(shape[n.args[1].name]) for n in weighted)
    assert len(macs) == 20
    for kind, suffix in (
        ("executorch", ".pte"),
        ("litert", ".tflite"),
        ("onnx", ".onnx"),
        ("coreml", ".mlpackage"),
        ("coreai", ".aimodel"),
    ):
        found = delegation(kind, run / f"artifacts/student-int8{suffix}")
        assert sorted(layer.macs for layer in found.layers if layer.macs) == macs, kind
        assert found.macs == sum(macs)
        assert found.bytes == sum(layer.bytes for layer in found.layers)
        # Biases and scales come on top.
        assert weights < found.bytes < 1.1 * weights, kind
        if kind not in ("coreml", "coreai"):
            left = [layer.operator for layer in found.layers if layer.delegate is None]
            assert Counter(left) == found.outside
            largest = max(found.layers, key=lambda layer: layer.macs)
            assert largest.activation_bytes * 144 == largest.macs, kind


def test_blocked_convolutions_of_onnx_runtime_have_their_macs(tmp_path: Path) -> None:
    weights = {"wide": [32, 16, 3, 3], "deep": [32, 1, 3, 3]}
    nodes = [
        helper.make_node("Conv", ["x", "wide"], ["c"], pads=[1] * 4),
        helper.make_node("Conv", ["c", "deep"], ["y"], group=32),
    ]
    constants = [helper.make_tensor(name, TensorProto.FLOAT, shape, [0.5] * prod(shape)) for name, shape in weights.items()]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 16, 8, 8]), ("y", [1, 32, 6, 6]))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "x.onnx")
    found = delegation("onnx", tmp_path / "x.onnx")
    assert [layer.macs for layer in found.layers if layer.operator == "Conv"] == [32 * 64 * 144, 32 * 36 * 9]
    assert found.bytes == 4 * (32 * 144 + 32 * 9)


def test_a_float_file_has_nothing_to_fall_back_from(tiny: Path) -> None:
    found = delegation("onnx", tiny / "runs/tiny/artifacts/student-fp32.onnx")
    assert found.fallbacks == []
    assert found.operators["float"]["Conv"] == found.outside["Conv"] == 16


@pytest.mark.parametrize(("kept", "told"), [(0, "found 0 bytes"), (1000, "expected at least"), (-5000, "expected at least")])
def test_a_pte_that_is_not_whole_is_reported(kept: int, told: str, tiny: Path, tmp_path: Path) -> None:
    data = (tiny / "runs/tiny/artifacts/student-int8.pte").read_bytes()
    (tmp_path / "x.pte").write_bytes(data[:kept])
    with pytest.raises(DeviceFailed, match=told):
        delegation("executorch", tmp_path / "x.pte")


def test_a_pte_with_a_broken_program_is_reported(tiny: Path, tmp_path: Path) -> None:
    data = bytearray((tiny / "runs/tiny/artifacts/student-int8.pte").read_bytes())
    data[0:4] = b"\xff\xff\xff\x7f"
    (tmp_path / "x.pte").write_bytes(data)
    with pytest.raises(DeviceFailed, match="executorch does not open it"):
        delegation("executorch", tmp_path / "x.pte")


def test_operators_of_which_no_reason_is_known_say_so() -> None:
    costs = {"macs": 0, "bytes": 0, "activation_bytes": 0}
    layers = [Layer(name=f"layer{i}", operator="SPARSE_TO_DENSE", delegate=None, **costs) for i in range(30)]
    (fallback,) = report("litert", Reading(1, [Node("builtin", layer) for layer in layers])).fallbacks
    assert fallback.why == "the delegate did not take it, no reason is known"
    assert (fallback.count, len(fallback.layers)) == (30, 20)
    assert "no reason is known" in why("executorch", "cat")
    assert "has no rule" in why("executorch", "native_layer_norm")


@pytest.mark.parametrize(
    ("tensor", "name"),
    [
        ("a.b.Preprocessed/timm.models.resnet.ResNet_model/torch.nn.modules.pooling.MaxPool2d_maxpool;1", "model.maxpool"),
        ("a.B_model/c.ReLU_act1;;a.B_model/c.d.Sequential_layer2/c.Conv2d_conv1;1", "model.layer2.conv1"),
        ("serving_default_output_0_output", "serving_default_output_0_output"),
    ],
)
def test_layers_of_litert_have_the_names_of_modules(tensor: str, name: str) -> None:
    assert module_name(tensor) == name


def judged(tmp_path: Path, found: dict[str, Any] | None, budgets: dict[str, Any]) -> ArtifactResult:
    """The judgement on an artifact x of a run that has these two steps."""
    state = Run(tmp_path)
    for name, result in (
        ("delegation-x", found),
        ("budgets", {t: {"artifacts": ["x"], "limits": limits} for t, limits in budgets.items()}),
    ):
        if result is not None:
            state.step(Step(name), lambda _, result=result: result)
    found, limits = delegation_of(state, "x")
    return made_result("litert", "int8", delegation=found, budgets=limits)


def test_a_budget_is_kept_up_to_its_limit(tmp_path: Path) -> None:
    artifact = judged(tmp_path, LEFT, {"a": {"partitions": 2, "fallbacks": 0}, "b": {"partitions": 2}, "c": {"partitions": 1}})
    assert [budget.model_dump() for budget in artifact.budgets] == [
        {"budget": "partitions", "limit": 2, "found": 2, "ok": True, "targets": ["a", "b"]},
        {"budget": "fallbacks", "limit": 0, "found": 1, "ok": False, "targets": ["a"]},
        {"budget": "partitions", "limit": 1, "found": 2, "ok": False, "targets": ["c"]},
    ]
    assert failures([artifact]) == [
        "student-int8.tflite: budget fallbacks of a is at most 0, found 1 (1 PADV2)",
        "student-int8.tflite: budget partitions of c is at most 1, found 2",
    ]
    assert judge.status_of([artifact]) == "check_failed"
    assert judge.status_of([artifact.model_copy(update={"budgets": artifact.budgets[:1]})]) == "ok"


@pytest.mark.parametrize(("found", "why"), [(None, "not examined"), ({"error": "x: litert does not open it"}, "litert does not open it")])
def test_a_budget_that_could_not_be_checked_is_not_broken(found: dict[str, Any] | None, why: str, tmp_path: Path) -> None:
    artifact = judged(tmp_path, found, {"a": {"partitions": 1}})
    (budget,) = artifact.budgets
    assert budget.ok is None
    assert why in budget.found.unavailable
    assert judge.status_of([artifact]) == "ok"


def test_a_broken_budget_ends_an_export_with_3_and_leaves_other_targets_alone(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny / "runs", tmp_path / "runs")
    (tmp_path / "board.yaml").write_text(TARGET)
    done = edgedistill("export", "--target", "board.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr[-3000:]
    document = json.loads(done.stdout)
    assert document["status"] == "check_failed"
    (artifact,) = [a for a in document["artifacts"] if a["role"] == "student"]
    assert artifact["delegation"]["outside"] == {"PADV2": 1}
    assert [(b["budget"], b["limit"], b["found"], b["ok"]) for b in artifact["budgets"]] == [
        ("partitions", 1, 2, False),
        ("fallbacks", 0, 1, False),
    ]

    line = "student-int8.tflite: budget partitions of board is at most 1, found 2"
    summary = json.loads((tmp_path / "runs/tiny/summary.json").read_text())
    assert line in summary["failed"]
    assert line in (tmp_path / "runs/tiny/report.html").read_text()
    show_artifacts(Exported.model_validate(document))
    shown = capsys.readouterr().out
    assert f"CHECK FAILED: {line}\n" in shown
    assert "student-int8.tflite: 2 partitions, left 1 PADV2; 4,105,664 MACs\n" in shown

    # The budget of board is not what android asked for, though it stays broken in the run.
    document = flow.export(tmp_path / "runs/tiny", ["android"])
    assert all(a.budgets == [] for a in document.artifacts)
    assert line in json.loads((tmp_path / "runs/tiny/summary.json").read_text())["failed"]


def test_a_run_keeps_the_budgets_of_the_packages_targets(tiny: Path) -> None:
    artifacts = json.loads((tiny / "result.json").read_text())["artifacts"]
    budgets = {a["name"]: a["budgets"] for a in artifacts if a["budgets"]}
    assert list(budgets) == ["student-int8.pte"]
    assert {(b["budget"], b["limit"], b["ok"], *b["targets"]) for b in budgets["student-int8.pte"]} == {
        ("partitions", 1, True, "ios", "linux"),
        ("fallbacks", 0, True, "ios", "linux"),
    }
    assert all("delegation" in a for a in artifacts)


def test_the_report_has_a_table_of_delegation(tiny: Path) -> None:
    summary = json.loads((tiny / "result.json").read_text())
    table = shown.table(summary)
    assert {sum(cell.span for cell in row) for row in table.rows} == {len(table.headers)}
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert rows["student-int8.pte"] == ["1", "XnnpackBackend 31", "nothing", "2", "4,105,664", "✓ ok"]
    assert rows["student-int8.tflite"][2].startswith("1 PADV2 (model.maxpool): LiteRT's XNNPACK pads with zero only")
    assert "decides on the device" in rows["student-int8.mlpackage"][0]
    assert rows["student-int8.mlpackage"][4] == "4,105,664"
    (pte,) = [t for t in layers.tables(summary) if t.caption.startswith("student-int8.pte: the 20 of 31 layers")]
    assert [cell.text for cell in pte.rows[0][1:]] == ["Conv2d", "XnnpackBackend", "1,179,648", "28.73%", "4,992", "8,192"]
    assert len(pte.rows) == 20
    text = render(summary)
    assert all(table.caption in text for table in layers.tables(summary))
    broken = copy.deepcopy(summary)
    artifact = next(a for a in broken["artifacts"] if a["name"] == "student-int8.pte")
    artifact["budgets"][0] |= {"found": 3, "ok": False}
    failed = failures([ArtifactResult.model_validate(artifact)])
    text = render(broken | {"status": "check_failed", "failed": failed})
    assert "✗ failed: partitions" in text
    assert "student-int8.pte: budget partitions of ios, linux is at most 1, found 3" in text
    del artifact["delegation"], artifact["budgets"]
    assert "Delegation of each artifact" in render(broken)


def test_budgets_need_an_artifact_that_they_count_for(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(TARGET.replace("litert, precision: int8", "onnx, precision: int8").replace("fallbacks: 0", "fallbacks: -1"))
    with pytest.raises(RecipeError, match=r"board\.yaml:5: budgets\.fallbacks"):
        load_target(str(path))
    path.write_text(TARGET.replace("litert, precision: int8", "onnx, precision: int8"))
    with pytest.raises(RecipeError, match="found budgets for onnx int8, expected no budgets, or an int8 artifact of executorch or litert"):
        load_target(str(path))
    path.write_text(TARGET)
    assert load_target(str(path)).budgets.partitions == 1
    limits = {name: load_target(name).budgets.fallbacks for name in list_targets()}
    assert {name: limit for name, limit in limits.items() if limit is not None} == dict.fromkeys(("ios", "ios-executorch", "linux"), 0)
