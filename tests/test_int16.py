"""16x8: one program with 16-bit activations, and the same scales and integers in LiteRT and ONNX."""

import copy
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import NAMES, plain
from torch import nn

from edgedistill.backends import backend
from edgedistill.backends.delegation import delegation
from edgedistill.backends.litert import int16 as litert_int16
from edgedistill.errors import UserError
from edgedistill.export.programs import save_program
from edgedistill.measure.adapters import executor
from edgedistill.quantize import int16
from edgedistill.quantize.graph import operators
from edgedistill.quantize.state import QuantizedState, state_tensors
from edgedistill.records import ArtifactSpec
from edgedistill.tasks.image_classification.models import signature
from edgedistill.verify.parity import INT16_LIMIT, float_parity
from edgedistill.verify.rungs import load_converted

SIZE = 16
OPS = torch.ops.quantized_decomposed
KINDS = ("litert", "onnx")


class Net(nn.Module):
    """A maximum with padding behind a rectifier, a depthwise convolution, a sum, a mean, and an activation that can be negative."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.depthwise, self.project = nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.project(nn.functional.relu6(self.depthwise(x)))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((24, 3, SIZE, SIZE), np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.train()(torch.rand(64, 3, SIZE, SIZE))
    path = tmp_path_factory.mktemp("int16") / "float.pt2"
    save_program(net.eval(), signature(SIZE, 10), path)
    return path


@pytest.fixture(scope="module")
def state(source: Path, images: np.ndarray) -> QuantizedState:
    return int16.quantize(load_converted(source), signature(SIZE, 10), ((image,) for image in torch.from_numpy(images).split(1)))


@pytest.fixture(scope="module")
def files(state: QuantizedState, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of each format."""
    folder, found = tmp_path_factory.mktemp("files"), {}
    for kind in KINDS:
        spec = ArtifactSpec(kind, "int16x8")
        save_program(state.unfolded if kind == "litert" else state.converted, signature(SIZE, 10), folder / spec.program)
        program, path = torch.export.load(folder / spec.program), folder / spec.name
        importlib.import_module(backend(kind).lower).lower(program, signature(SIZE, 10), path, spec, {})
        found[kind] = path
    return found


def answers(model: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(torch.from_numpy(image[None])).numpy() for image in images])


def scales_of(state: QuantizedState) -> set[float]:
    return set(np.float32(state_tensors(state.converted)["activations"][:, 0].numpy()).tolist())


def test_activations_are_symmetric_and_cost_next_to_nothing(source: Path, state: QuantizedState, images: np.ndarray) -> None:
    steps = operators(state.converted, (OPS.quantize_per_tensor.default,))
    assert len(steps) >= 7
    assert {step.args[2:] for step in steps} == {(0, -32767, 32767, torch.int16)}
    image = next(step for step in steps if step.args[0].op == "placeholder")
    assert image.args[1] == pytest.approx(images.max() / 32767, rel=1e-6)
    parity = float_parity(answers(state.converted, images), answers(load_converted(source), images), relative_limit=0.05)
    assert parity.ok, parity
    assert torch.equal(torch.from_numpy(answers(state.unfolded, images)), torch.from_numpy(answers(state.converted, images)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_computes_what_its_program_does_and_a_wrong_scale_is_seen(
    kind: str, files: dict[str, Path], state: QuantizedState, images: np.ndarray
) -> None:
    adapter = importlib.import_module(executor(kind).module)
    adapter.prepare(1)
    forward = plain(adapter.load(str(files[kind]), 1, NAMES))
    found = np.concatenate([forward(image[None]) for image in images])
    assert found.dtype == np.float32
    assert float_parity(found, answers(state.converted, images), relative_limit=INT16_LIMIT).ok
    wrong = copy.deepcopy(state.converted)
    step = operators(wrong, (OPS.dequantize_per_tensor.default,))[3]
    step.args = (step.args[0], step.args[1] * 1.02, *step.args[2:])
    wrong.recompile()
    assert not float_parity(found, answers(wrong, images), relative_limit=INT16_LIMIT).ok, "one scale, by 2%"


def test_both_files_hold_the_scales_and_integers_of_the_program(files: dict[str, Path], state: QuantizedState) -> None:
    import onnx
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(files["litert"]))
    tensors = interpreter.get_tensor_details()
    stored = [t for t in tensors if t["dtype"] == np.int16]
    assert {np.float32(t["quantization"][0]).item() for t in stored} <= scales_of(state)
    assert len(stored) > 6
    assert {t["quantization"][1] for t in stored} == {0}
    graph = onnx.load(files["onnx"]).graph
    held = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    quantized = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {held[node.input[2]].dtype for node in quantized} == {np.dtype(np.int16)}
    assert {held[node.input[1]].item() for node in quantized} == scales_of(state)
    expected = state_tensors(state.converted)
    biases = sorted(value.tolist() for name, value in expected.items() if name.endswith(".bias"))
    assert sorted(a.tolist() for n, a in held.items() if a.dtype == np.int32 and n.endswith("_q")) == biases
    interpreter.allocate_tensors()
    wide = [interpreter.get_tensor(t["index"]) for t in tensors if t["dtype"] == np.int64 and t["quantization_parameters"]["scales"].size]
    assert sorted(a.tolist() for a in wide) == biases


def test_it_is_said_that_no_fast_kernel_takes_it(files: dict[str, Path]) -> None:
    litert, onnx = (delegation(kind, files[kind]) for kind in KINDS)
    assert litert.partitions == 0
    assert litert.outside["CONV_2D"] == 2
    assert {f.why.partition(";")[0] for f in litert.fallbacks} == {"LiteRT's XNNPACK takes no 16-bit activations"}
    assert onnx.operators["float"]
    assert "integer" not in onnx.operators
    assert all("no kernels with 16-bit activations" in f.why for f in onnx.fallbacks)


def test_a_maximum_keeps_its_padding_where_values_may_be_negative() -> None:
    for activation, moved in ((nn.ReLU(), 1), (nn.ReLU6(), 1), (nn.Identity(), 0), (nn.Hardtanh(), 0)):
        net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), activation, nn.MaxPool2d(3, 2, (1, 0))).eval()
        image = torch.randn(1, 3, 8, 8)
        graph = torch.export.export(net, (image,)).module()
        assert int16.pad_with_zeros(graph) == moved
        assert torch.equal(graph(image), net(image))


def test_a_concatenation_is_refused_for_litert() -> None:
    class Joined(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, x], 1)

    with pytest.raises(UserError, match="found 1; take int16x8 in onnx"):
        litert_int16.check(torch.export.export(Joined(), (torch.zeros(1, 3, 4, 4),)))
