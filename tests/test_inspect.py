"""What inspect says about each format: the same facts, equal to torch's, and one clear error for anything that is no whole model file."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import edgedistill

from edgedistill import child
from edgedistill.backends import inspect as package
from edgedistill.backends.coreml import inspect as coreml
from edgedistill.backends.executorch import inspect as executorch
from edgedistill.backends.executorch import xnnpack
from edgedistill.backends.inspect import inspect
from edgedistill.backends.inspect.graph import Graph, Node, Tensor, Unknown, describe
from edgedistill.backends.litert import inspect as litert
from edgedistill.backends.onnx import inspect as onnx_reader
from edgedistill.errors import UserError
from edgedistill.records.inspection import Inspection

FIELDS = {
    "format", "path", "bytes", "sha256", "version", "producer", "inputs", "outputs", "operators", "weights", "activations", "layers",
    "macs", "metadata", "signature", "warnings",
}  # fmt: skip
LAYER = {"name", "operator", "type", "output_shape", "weight_bytes", "macs"}
FOLDERS = {"executorch": ".pte", "litert": ".tflite", "onnx": ".onnx", "coreml": ".mlpackage", "coreai": ".aimodel"}


def artifact(tiny: Path, kind: str, precision: str = "int8") -> Path:
    return tiny / "runs" / "tiny" / "artifacts" / f"student-{precision}{FOLDERS[kind]}"


@pytest.fixture(scope="module")
def files(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One int8 file of each format."""
    import onnxruntime

    ort = tmp_path_factory.mktemp("ort") / "student-int8.ort"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(ort)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(artifact(tiny, "onnx")), options, providers=["CPUExecutionProvider"])
    return {kind: artifact(tiny, kind) for kind in FOLDERS} | {"ort": ort}


@pytest.fixture(scope="module")
def torch_macs(tiny: Path) -> dict[str, int]:
    """What torch counts for each precision; an int8 program pools by a convolution."""
    import torch
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  # registers the quantized operators
    from torch.utils.flop_counter import FlopCounterMode

    macs = {}
    for name, precisions in {"float": ("fp16", "fp32"), "converted": ("int8",)}.items():
        program = torch.export.load(tiny / "runs" / "tiny" / "work" / "programs" / f"student-{name}.pt2")
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            program.module()(torch.zeros(1, 3, 32, 32))
        macs |= dict.fromkeys(precisions, counter.get_total_flops() // 2)
    return macs


def test_every_artifact_is_described_alike(tiny: Path, torch_macs: dict[str, int]) -> None:
    summary = json.loads((tiny / "runs" / "tiny" / "summary.json").read_text())
    artifacts = [a for a in summary["artifacts"] if a["role"] == "student"]
    assert {a["format"] for a in artifacts} == set(FOLDERS)
    kept = {"int8": "int8", "fp32": "float32", "fp16": "float16"}
    float_bytes = set()
    for a in artifacts:
        found = inspect(tiny / "runs" / "tiny" / a["path"])
        assert (found.format, found.bytes, found.sha256) == (a["format"], a["bytes"], a["sha256"])
        assert [(p.type, p.shape) for p in found.inputs] == [("float32", [1, 3, 32, 32])], a["name"]
        assert [(p.type, p.shape) for p in found.outputs] == [("float32", [1, 10])], a["name"]
        # Core AI pools by a convolution in floating point too.
        assert found.macs == torch_macs["int8" if a["format"] == "coreai" else a["precision"]] > 1e6, a["name"]
        assert found.macs == sum(layer.macs for layer in found.layers)
        weights = sum(stored.bytes for stored in found.weights.values())
        # What no operator uses is stored all the same: the counters of BatchNorm in a .pte.
        assert 0 <= weights - sum(layer.weight_bytes for layer in found.layers) <= 16, a["name"]
        assert 0.6 * a["bytes"] < weights < a["bytes"], a["name"]
        assert next(iter(found.weights)) == kept[a["precision"]], a["name"]
        activations = {"uint8", "int8"} if a["precision"] == "int8" else {kept[a["precision"]]}
        assert found.activations.keys() <= activations | {"float32"}, a["name"]
        assert max(found.activations, key=found.activations.__getitem__) in activations, a["name"]
        assert found.warnings == []
        if a["precision"] == "fp32":
            float_bytes.add(found.weights["float32"].bytes)
        if a["format"] in ("onnx", "coreml", "coreai"):
            assert found.metadata["state_sha256"] == summary["state"]["sha256"]
    # A converter may keep a number that another one computes.
    assert max(float_bytes) - min(float_bytes) <= 16


def test_an_ort_file_says_what_its_onnx_says(files: dict[str, Path], torch_macs: dict[str, int]) -> None:
    onnx, ort = inspect(files["onnx"]), inspect(files["ort"])
    assert ort.format == "ort"
    assert ort.macs == torch_macs["int8"]
    for field in ("inputs", "outputs", "producer", "metadata", "weights"):
        assert getattr(ort, field) == getattr(onnx, field)
    assert ort.version["opsets"]["ai.onnx"] == onnx.version["opsets"]["ai.onnx"] == 18


def test_the_command_prints_tables_or_the_document(files: dict[str, Path], tmp_path: Path) -> None:
    other = shutil.copy(files["litert"], tmp_path / "other.onnx")
    done = edgedistill("inspect", other, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) == FIELDS
    assert all(set(layer) == LAYER for layer in document["layers"])
    jsonschema.validate(document, Inspection.model_json_schema(mode="serialization", by_alias=True))
    assert document == inspect(tmp_path / "other.onnx").model_dump(mode="json")
    assert document["format"] == "litert"
    assert "other.onnx holds LiteRT" in document["warnings"][0]
    assert "warning: " in done.stderr
    shown = edgedistill("inspect", files["executorch"], cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert f"MACs: {document['macs']:,}" in shown.stdout
    assert "input 0: float32 [1×3×32×32]" in shown.stdout
    assert "XNNFullyConnected" in shown.stdout
    missing = edgedistill("inspect", "nowhere.pte", cwd=tmp_path)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("error: nowhere.pte does not exist; expected a .pte")


def test_what_a_file_says_is_shown_as_text_only(tmp_path: Path) -> None:
    path = save(tmp_path / "hostile.onnx", [("Relu", ["x"], ["y"], {"name": "[bold]\x1b[31mred"})], {"x": [1, 1 << 4]}, {"y": [1, 16]})
    path = save(path, [("MatMul", ["x", "w"], ["y"], {"name": "[bold]\x1b[31mred"})], {"x": [1, 4]}, {"y": [1, 2]}, {"w": [4, 2]})
    done = edgedistill("inspect", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "[bold]" in done.stdout


def damaged(source: Path, folder: Path) -> list[Path]:
    """Copies of a file that are cut off at several places, empty, or something else with the first bytes of the format."""
    file = next(path for path in source.rglob("*") if path.name in ("weight.bin", "main.mlirb")) if source.is_dir() else source
    data = file.read_bytes()
    contents = {f"cut-{n}": data[:n] for n in (1, 6, 12, 100, len(data) // 3, len(data) - 100)}
    contents |= {"empty": b"", "foreign": data[:12] + bytes(range(256)) * 40, "text": b"not a model\n" * 50}
    if source.suffix == ".mlpackage":
        specification = next(source.rglob("*.mlmodel"))
        contents |= {f"mlmodel-{name}": specification.read_bytes()[:n] for name, n in {"empty": 0, "half": 5000}.items()}
    made = []
    for name, content in contents.items():
        path = folder / f"{name}{source.suffix}"
        if source.is_dir():
            shutil.copytree(source, path)
            (path / (specification if name.startswith("mlmodel") else file).relative_to(source)).write_bytes(content)
        else:
            path.write_bytes(content)
        made.append(path)
    return made


def message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        inspect(path)
    return str(caught.value)


@pytest.mark.parametrize("kind", [*FOLDERS, "ort"])
def test_a_damaged_file_is_one_clear_error(files: dict[str, Path], kind: str, tmp_path: Path) -> None:
    paths = damaged(files[kind], tmp_path)
    with ThreadPoolExecutor(2) as pool:
        for path, error in zip(paths, pool.map(message, paths), strict=True):
            assert error.startswith(str(path)), error
            assert "expected" in error.lower(), error
            assert "export or copy it again" in error, error
            assert "Traceback" not in error
            assert "\n" not in error


def test_what_is_no_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zip.onnx").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "empty.tflite").touch()
    os.mkfifo(tmp_path / "fifo.pte")
    assert "is a ZIP archive" in message(tmp_path / "zip.onnx")
    assert "is empty (0 bytes)" in message(tmp_path / "empty.tflite")
    assert "without the Manifest.json" in message(tmp_path / "folder")
    assert "which no known format has" in message(tmp_path / "notes.txt")
    assert "neither a file nor a folder" in message(tmp_path / "fifo.pte")
    assert "does not exist" in message(tmp_path / "nothing.tflite")


def test_a_reader_that_crashes_or_hangs_is_an_error(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "_TIMEOUT_S", 0.01)
    assert "did not end within 0.01 s" in message(files["litert"])
    monkeypatch.undo()
    monkeypatch.setattr(child, "run", lambda command, **_: subprocess.CompletedProcess(command, -11, b"chatter\n", b""))
    assert "crashed on it (exit status -11)" in message(files["litert"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the limit")
def test_the_reader_has_a_limit_of_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    code = (
        "from pathlib import Path\nfrom edgedistill.backends.inspect import worker\nworker._limit_memory(Path('file'))\nbytearray(1 << 33)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.endswith("MemoryError\n")


def test_a_core_ml_package_stays_inside_of_itself(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "other.mlpackage"
    shutil.copytree(files["coreml"], path)
    next(path.rglob("*.mlmodel")).write_bytes(b"\x08\x08\xa2\x1f\x00")
    assert "found a Core ML neuralNetwork, expected an ML program" in message(path)
    manifest = json.loads((path / "Manifest.json").read_text())
    for entry in manifest["itemInfoEntries"].values():
        entry["path"] = "../../outside"
    (path / "Manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "outside").write_bytes(b"\x08\x08\xa2\x1f\x00")
    assert "outside of it" in message(path)


def save(
    path: Path, nodes: list[tuple[str, list[str], list[str], dict[str, Any]]], inputs: dict[str, Any], outputs: dict[str, Any],
    constants: dict[str, Any] | None = None, kind: str = "FLOAT",
) -> Path:  # fmt: skip
    """An ONNX file of these operators; a constant is a shape of zeros, or a number of the type of the input."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    stored = [
        numpy_helper.from_array(np.zeros(value, np.float32) if isinstance(value, list) else np.array(value), name)
        for name, value in (constants or {}).items()
    ]
    graph = helper.make_graph(
        [helper.make_node(operator, i, o, **attributes) for operator, i, o, attributes in nodes],
        "graph",
        [helper.make_tensor_value_info(name, getattr(TensorProto, kind), shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        stored,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_what_can_not_be_reported_has_a_reason(tmp_path: Path) -> None:
    any_batch = save(tmp_path / "a.onnx", [("MatMul", ["x", "w"], ["y"], {})], {"x": ["n", 4]}, {"y": ["n", 2]}, {"w": [4, 2]})
    found = inspect(any_batch)
    assert found.inputs[0].shape == ["n", 4]
    assert "the shape of y is not fixed" in found.macs.unavailable
    assert found.producer.value is None
    gru = [("GRU", ["x", "w", "r"], ["y"], {"hidden_size": 2})]
    recurrent = save(tmp_path / "b.onnx", gru, {"x": [3, 1, 4]}, {"y": [3, 1, 1, 2]}, {"w": [1, 6, 4], "r": [1, 6, 2]})
    assert "no formula for GRU" in inspect(recurrent).layers[0].macs.unavailable
    loose = save(tmp_path / "c.onnx", [("Relu", ["x"], ["y"], {})], {"x": [1]}, {"z": [1]})
    assert "nothing computes its output z" in message(loose)


def test_a_constant_of_the_wrong_length_is_damage(tmp_path: Path) -> None:
    import onnx

    path = save(tmp_path / "a.onnx", [("MatMul", ["x", "w"], ["y"], {})], {"x": [1, 4]}, {"y": [1, 2]}, {"w": [4, 2]})
    model = onnx.load(path)
    model.graph.initializer[0].dims[0] = 5
    onnx.save(model, path)
    assert "the constant w has 32 bytes, expected 40" in message(path)


def test_quantized_inputs_have_scale_and_zero_point(tmp_path: Path) -> None:
    import numpy as np

    nodes = [("DequantizeLinear", ["x", "scale", "zero"], ["y"], {})]
    constants = {"scale": np.float32(0.5), "zero": np.uint8(7)}
    (port,) = inspect(save(tmp_path / "q.onnx", nodes, {"x": [1, 4]}, {"y": [1, 4]}, constants, "UINT8")).inputs
    assert port.model_dump() == {"name": "x", "type": "uint8", "shape": [1, 4], "scale": 0.5, "zero_point": 7}


def node(operator: str, reader: Any, shapes: dict[str, list[int]], **more: int | str) -> int:
    """The MACs of one operator whose tensors have these shapes; `y` is what it computes.

    more: its attributes, and names of tensors, which are its arguments.
    """
    graph = Graph({name: Tensor("float32", list(shape)) for name, shape in shapes.items()})
    attributes = {key: value for key, value in more.items() if isinstance(value, int)}
    arguments = {key: value for key, value in more.items() if isinstance(value, str)}
    return reader.macs(Node(operator, "", [name for name in shapes if name != "y"], ["y"], attributes, arguments), graph)


def test_macs_are_those_of_torch() -> None:
    import torch
    from torch.nn import functional
    from torch.utils.flop_counter import FlopCounterMode

    def of_torch(function: Any, *shapes: list[int], **options: Any) -> int:
        with FlopCounterMode(display=False) as counter:
            function(*(torch.zeros(*shape) for shape in shapes), **options)
        return counter.get_total_flops() // 2

    grouped = of_torch(functional.conv2d, [1, 8, 9, 9], [12, 2, 3, 5], stride=2, padding=1, groups=4)
    nchw = {"x": [1, 8, 9, 9], "w": [12, 2, 3, 5], "y": [1, 12, 5, 4]}
    fields = {"kernel_height": 3, "kernel_width": 5, "group_input_channels": 2, "group_output_channels": 3, "groups": 4}
    assert grouped == node("Conv", onnx_reader, nchw) == node("conv", coreml, nchw, weight="w") > 0
    assert grouped == node("aten::convolution", executorch, nchw, transposed=False)
    assert grouped == node("XNNConv2d", xnnpack, {"x": [1, 9, 9, 8], "w": [12, 3, 5, 2], "y": [1, 5, 4, 12]}, **fields)
    assert grouped == node("CONV_2D", litert, {"x": [1, 9, 9, 8], "w": [12, 3, 5, 2], "y": [1, 5, 4, 12]})
    depthwise = of_torch(functional.conv2d, [1, 8, 9, 9], [8, 1, 3, 3], groups=8)
    assert depthwise == node("DEPTHWISE_CONV_2D", litert, {"x": [1, 9, 9, 8], "w": [1, 3, 3, 8], "y": [1, 7, 7, 8]})

    transposed = of_torch(functional.conv_transpose2d, [1, 8, 9, 9], [8, 3, 2, 4], stride=2, groups=2)
    nchw = {"x": [1, 8, 9, 9], "w": [8, 3, 2, 4], "y": [1, 6, 18, 20]}
    assert transposed == node("ConvTranspose", onnx_reader, nchw) == node("conv_transpose", coreml, nchw, weight="w", x="x") > 0
    assert transposed == node("aten::convolution", executorch, nchw, transposed=True)
    fields = {"kernel_height": 2, "kernel_width": 4, "group_input_channels": 4, "group_output_channels": 3, "groups": 2}
    assert transposed == node("XNNConvTranspose2d", xnnpack, {"x": [1, 9, 9, 8], "y": [1, 18, 20, 6]}, **fields)
    single = of_torch(functional.conv_transpose2d, [1, 8, 9, 9], [8, 6, 2, 4], stride=2)
    assert single == node("TRANSPOSE_CONV", litert, {"shape": [4], "w": [6, 2, 4, 8], "x": [1, 9, 9, 8], "y": [1, 18, 20, 6]})

    linear = of_torch(functional.linear, [5, 16], [7, 16])
    assert linear == node("Gemm", onnx_reader, {"x": [5, 16], "w": [7, 16], "y": [5, 7]})
    assert linear == node("Gemm", onnx_reader, {"x": [16, 5], "w": [16, 7], "y": [5, 7]}, transA=1)
    assert linear == node("FULLY_CONNECTED", litert, {"x": [5, 16], "w": [7, 16], "y": [5, 7]})
    assert linear == node("linear", coreml, {"x": [5, 16], "w": [7, 16], "y": [5, 7]}, weight="w")
    assert linear == node("XNNFullyConnected", xnnpack, {"x": [5, 16], "w": [7, 16], "y": [5, 7]})
    assert linear == node("aten::addmm", executorch, {"bias": [7], "x": [5, 16], "w": [16, 7], "y": [5, 7]})

    product = of_torch(torch.matmul, [2, 3, 5, 16], [2, 3, 16, 7])
    shapes = {"x": [2, 3, 5, 16], "w": [2, 3, 16, 7], "y": [2, 3, 5, 7]}
    turned = {"x": [2, 3, 16, 5], "w": [2, 3, 16, 7], "y": [2, 3, 5, 7]}
    assert product == node("MatMul", onnx_reader, shapes) == node("BATCH_MATMUL", litert, shapes) == node("matmul", coreml, shapes, x="x")
    assert product == node("BATCH_MATMUL", litert, turned, adjX=True) == node("matmul", coreml, turned, x="x", transpose_x=True)
    assert product == node("XNNBatchMatrixMultiply", xnnpack, shapes)
    # The counter knows the two products, and not every fused attention.
    attention = of_torch(lambda q, k, v: (q @ k.mT) @ v, [2, 3, 5, 16], [2, 3, 9, 16], [2, 3, 9, 4])
    fused = {"q": [2, 3, 5, 16], "k": [2, 3, 9, 16], "v": [2, 3, 9, 4], "y": [2, 3, 5, 4]}
    assert attention == node("scaled_dot_product_attention", coreml, fused, query="q", key="k", value="v")


def test_another_delegate_is_one_layer_whose_macs_are_not_known() -> None:
    with pytest.raises(Unknown, match="in a form of its own"):
        executorch.macs(Node("VulkanBackend", "", ["x"], ["y"], delegate="VulkanBackend", opaque=True), Graph())


def test_weights_belong_to_who_uses_them_and_count_once() -> None:
    tensors = {
        "x": Tensor("float32", [1, 4]),
        "q": Tensor("int8", [4, 4], 16, "shared"),
        "again": Tensor("int8", [4, 4], 16, "shared"),
        "scale": Tensor("float32", [], 4),
        **{name: Tensor("float32", [1, 4]) for name in ("a", "b")},
        "c": Tensor("uint8", [1, 4]),
    }
    # What makes the weights comes after its user and in reverse, as in some .ort files.
    nodes = [
        Node("MatMul", "first", ["x", "w"], ["a"]),
        Node("Relu", "second", ["a"], ["b"]),
        Node("MatMul", "third", ["b", "again"], ["d"]),
        Node("Transpose", "turned", ["t"], ["w"]),
        Node("DequantizeLinear", "weights", ["q", "scale"], ["t"]),
        Node("QuantizeLinear", "last", ["b", "scale"], ["c"]),
    ]
    rest: dict[str, Any] = {"version": {}, "producer": "me", "inputs": [], "outputs": [], "metadata": {}}
    found = describe(Graph(tensors, nodes), lambda *_: 1, **rest)
    assert {layer.name: layer.weight_bytes for layer in found.layers} == {"first": 20, "second": 0, "third": 0, "last": 0}
    assert {kind: (stored.count, stored.bytes) for kind, stored in found.weights.items()} == {"int8": (1, 16), "float32": (1, 4)}
    assert found.operators["DequantizeLinear"] == 1
    # `second` is also used as it is, so it is not kept as uint8.
    assert found.layers[1].type == "float32"
    found = describe(Graph(tensors, [*nodes[:2], *nodes[3:]]), lambda *_: 1, **rest)
    assert [layer.type for layer in found.layers] == ["uint8", "uint8", "uint8"]
    assert found.macs == 3
    assert describe(Graph(tensors, nodes), lambda *_: 1, entries=2, **rest).macs.value is None


@pytest.mark.slow
def test_reading_leaves_packages_that_others_import_whole() -> None:
    code = """
import sys
from edgedistill.backends.inspect.graph import without_parents
with without_parents("executorch.exir", "executorch.exir._serialize"):
    from executorch.exir._serialize._flatbuffer_program import _flatbuffer_to_program
    assert "torch" not in sys.modules
from executorch.exir import ExportedProgram
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
