"""The sensitivity scan and mixed precision, on a network of which one layer has weights of few levels."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edgedistill import tasks
from edgedistill.backends.onnx.floats import keep_floats
from edgedistill.export.lower import lower_one
from edgedistill.export.programs import save_program
from edgedistill.quantize.graph import layer_of, operators, tensor_of
from edgedistill.quantize.mixed import leave_float
from edgedistill.quantize.state import QuantizedState, convert, digest, state_tensors
from edgedistill.quantize.static import calibrate
from edgedistill.records import ArtifactSpec
from edgedistill.tasks.image_classification.models import signature, to_unit
from edgedistill.tasks.modules import batches_of, predict
from edgedistill.verify.integer import IntegerReference
from edgedistill.verify.mixed_precision import Exam, examine
from edgedistill.verify.sensitivity import Samples, scan

RANDOM = np.random.default_rng(0)
# Each image has a colour, so that the answers differ.
IMAGES = (RANDOM.random((80, 3, 16, 16)) * RANDOM.random((80, 3, 1, 1)) * 255).astype(np.uint8)
PORTS = signature(16, 4)
BAD, HEAD = "4", "8"
"""Names of the layer whose scales are 16 times as wide as they should be, and of the last layer."""


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    ]  # fmt: skip
    net = nn.Sequential(*layers).eval()
    with torch.no_grad():
        net[8].weight.mul_(60)
    return net


@pytest.fixture(scope="module")
def state() -> QuantizedState:
    prepared = calibrate(network(), PORTS, [(to_unit(IMAGES),)])
    weight = next(n for n in operators(prepared, (torch.ops.aten.conv2d.default,)) if layer_of(n) == BAD).args[1]
    observer = prepared.get_submodule(str(weight.target))
    observer.min_val.mul_(16)
    observer.max_val.mul_(16)
    return convert(prepared, PORTS)


def node_of(state: QuantizedState, layer: str) -> str:
    return next(n.name for n in state.converted.graph.nodes if n.name in state.trained and layer_of(n) == layer)


def outputs(module: nn.Module) -> np.ndarray:
    return predict(module, batches_of({"image": to_unit(IMAGES).numpy()}), PORTS.forward)["logits"]


def answers(state: QuantizedState) -> np.ndarray:
    return outputs(IntegerReference(state.converted))


def examined(state: QuantizedState, student: np.ndarray, integer: np.ndarray, labels: np.ndarray | None = None, *, apply: bool) -> Any:
    targets = {} if labels is None else {"logits": labels}
    exam = Exam(tasks.task("image-classification"), PORTS, {"image": to_unit(IMAGES).numpy()}, {"logits": student}, targets)
    return examine(state, exam, {"logits": integer}, apply=apply)


def test_the_scan_gives_what_each_mixed_program_computes(state: QuantizedState) -> None:
    whole, alone, facts = scan(state.converted, state.trained, Samples(PORTS, {"image": to_unit(IMAGES).numpy()}))
    assert [fact.layer for fact in facts] == ["0", "2", "4", "8"], "average pooling has no weights that were trained"
    assert [fact.kind for fact in facts] == ["convolution", "depthwise convolution", "convolution", "linear"]
    assert np.array_equal(whole["logits"], answers(state))
    for fact in facts:
        assert np.array_equal(alone[fact.node]["logits"], answers(leave_float(state, [fact.node]))), fact.layer
    first = facts[0]
    assert (first.bytes, first.macs) == (3 * 8 * 27, 8 * 8 * 8 * 27)
    assert facts[2].sqnr_db < min(fact.sqnr_db for fact in facts if fact.layer != BAD) - 6


def test_a_layer_with_few_levels_costs_most_and_is_left_in_floating_point(state: QuantizedState) -> None:
    student = outputs(network())
    mixed, found = examined(state, student, answers(state), apply=True)
    assert found.layers[0].layer == found.chosen[0].layer == BAD
    assert found.applied
    assert found.result.distance < 0.2 * found.int8.distance
    assert mixed.sha256 == leave_float(state, [layer.node for layer in found.chosen]).sha256 != state.sha256

    same, proposed = examined(state, student, answers(state), apply=False)
    assert same is state
    assert [layer.layer for layer in proposed.chosen] == [BAD]
    assert (proposed.applied, proposed.result, proposed.stopped) == (False, None, None)
    assert proposed.layers == found.layers


def test_no_layer_is_chosen_where_accuracy_or_divergence_gain_nothing(state: QuantizedState) -> None:
    student, integer = outputs(network()), answers(state)
    same, found = examined(state, student, integer, integer.argmax(axis=1), apply=True)
    assert same is state
    assert (found.chosen, found.stopped) == ([], "gap"), "the int8 program is the more accurate one"
    _, found = examined(state, integer, integer, apply=True)
    assert (found.chosen, found.stopped) == ([], "share"), "a program is nearest to itself"


def test_a_float_layer_has_the_trained_weights_and_counts_for_the_hash(state: QuantizedState) -> None:
    node = node_of(state, BAD)
    mixed = leave_float(state, [node])
    images = torch.from_numpy(IMAGES).float() / 255
    assert torch.equal(mixed.converted(images), mixed.unfolded(images))
    layer = next(n for n in mixed.converted.graph.nodes if n.name == node)
    assert torch.equal(tensor_of(mixed.converted, layer.args[1]), network()[4].weight)
    assert torch.equal(tensor_of(mixed.converted, layer.args[2]), network()[4].bias)
    assert digest(state_tensors(mixed.converted)) == mixed.sha256
    tensor_of(mixed.converted, layer.args[2]).add_(1e-3)
    assert digest(state_tensors(mixed.converted)) != mixed.sha256
    with pytest.raises(ValueError, match="no quantized layers nothing"):
        leave_float(state, ["nothing"])


def test_logits_of_a_float_layer_are_not_quantized(state: QuantizedState) -> None:
    mixed = leave_float(state, [node_of(state, HEAD)])
    steps = answers(mixed) / mixed.output_scale["logits"]
    assert mixed.output_scale == state.output_scale
    assert np.abs(steps - steps.round()).max() > 0.1
    assert np.median(np.abs(answers(mixed) - answers(state))) < state.output_scale["logits"]


def test_litert_keeps_the_layer_in_floating_point(state: QuantizedState, tmp_path: Path) -> None:
    mixed, spec = leave_float(state, [node_of(state, BAD)]), ArtifactSpec("litert", "int8")
    save_program(mixed.unfolded, PORTS, tmp_path / spec.program)
    lower_one(spec, tmp_path, tmp_path, tmp_path / "log", {"model": "net"})
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(tmp_path / spec.name))
    interpreter.allocate_tensors()
    weights = [t for t in interpreter.get_tensor_details() if tuple(t["shape"]) == (16, 3, 3, 8)]
    assert [t["dtype"] for t in weights] == [np.float32]


def test_onnx_runtime_keeps_the_layer_in_floating_point() -> None:
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    weight[0] *= 50
    constants = {"s": np.float32(1 / 255), "z": np.uint8(0), "S": np.float32(1e-3), "Z": np.uint8(128), "w": weight}
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("Conv", ["x", "w"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "S", "Z"], ["r"]), helper.make_node("DequantizeLinear", ["r", "S", "Z"], ["logits"]),
    ]  # fmt: skip
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, c, h, h]) for name, c, h in (("image", 3, 8), ("logits", 4, 6))]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    image = np.zeros((1, 3, 8, 8), np.float32)
    image[0, 0, 3, 3] = 0.02
    plain = nn.functional.conv2d(torch.from_numpy(np.rint(image * 255) / np.float32(255)), torch.from_numpy(weight)).numpy()
    expected = (np.rint(plain / np.float32(1e-3)).clip(-128, 127) * np.float32(1e-3))[:, 1:]

    def found() -> np.ndarray:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {"image": image})[0][:, 1:]

    assert np.abs(found() - expected).max() > 5e-3, "ONNX Runtime no longer quantizes by itself: drop keep_floats"
    assert keep_floats(model) == 1
    assert np.abs(found() - expected).max() < 1.1e-3
