"""Faults planted in a trained program, lowered to each format and executed by its runtime: parity has to see every one of them."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSIFIER, flips
from sklearn.datasets import load_digits
from torch import nn
from torch.fx import GraphModule

from edgedistill.backends import backend, formats
from edgedistill.backends.delegation import delegation
from edgedistill.export.lower import lower
from edgedistill.export.programs import save_program
from edgedistill.measure import local
from edgedistill.measure.adapters import executor
from edgedistill.quantize.graph import operators, tensor_of
from edgedistill.quantize.qat import QATModule, prepare_qat
from edgedistill.quantize.rewrite import plain_batchnorm
from edgedistill.quantize.state import convert
from edgedistill.records import ArtifactSpec
from edgedistill.tasks.image_classification.models import signature
from edgedistill.tasks.image_classification.preprocessed import Preprocessed
from edgedistill.verify.parity import quantized_parity
from edgedistill.verify.rungs import references

SIZE, COUNT = 16, 200
ATEN, OPS = torch.ops.aten, torch.ops.quantized_decomposed
WEIGHTED = (ATEN.conv2d.default, ATEN.conv2d.padding, ATEN.linear.default)


class Net(nn.Module):
    """Six layers with what students have: depthwise and pointwise convolutions, a residual sum, pooling, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
        self.pointwise = nn.Sequential(nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.down = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.pointwise(self.depthwise(x))
        return self.head(nn.functional.adaptive_avg_pool2d(self.down(x), 1).flatten(1))


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Images float32 [N, 3, 16, 16] in 0..1 and labels."""
    images, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(images.reshape(-1, 1, 8, 8)).float() / 16
    return nn.functional.interpolate(small, size=SIZE, mode="bilinear").expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(labels)


def fit(module: nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int, rate: float) -> None:
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], rate)
    module.train()
    for epoch in range(epochs):
        for chosen in torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch)).split(64):
            loss = nn.functional.cross_entropy(module(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    module.eval()


@pytest.fixture(scope="module")
def trained(digits: tuple[torch.Tensor, torch.Tensor]) -> QATModule:
    torch.manual_seed(0)
    images, labels = (part[COUNT:] for part in digits)
    net = Preprocessed(Net(), (0.3, 0.3, 0.3), (0.4, 0.4, 0.4))
    fit(net, images, labels, 8, 5e-3)
    module = prepare_qat(plain_batchnorm(net), signature(SIZE, 10))
    fit(module, images, labels, 1, 2e-4)
    return module


def one_scale_by_two_percent(graph: GraphModule) -> None:
    target = operators(graph, (OPS.quantize_per_tensor.default,))[3].args[1:3]
    _rescale(graph, target, (float(np.float32(target[0] * 1.02)), target[1]))  # type: ignore[operator]


def _rescale(graph: GraphModule, before: object, after: tuple[float, object]) -> None:
    for node in operators(graph, (OPS.quantize_per_tensor.default, OPS.dequantize_per_tensor.default)):
        if node.args[1:3] == before:
            node.args = (node.args[0], *after, *node.args[3:])
    graph.recompile()


def _weights(graph: GraphModule, layer: int) -> torch.Tensor:
    """Weights of a layer: int8 in the converted form, float behind a quantize in the unfolded one."""
    source = operators(graph, WEIGHTED)[layer].args[1].args[0]  # type: ignore[union-attr]
    return tensor_of(graph, source.args[0] if source.op == "call_function" else source)  # type: ignore[union-attr]


def the_sign_of_one_channel(graph: GraphModule) -> None:
    weights = _weights(graph, 3)
    weights[0] = -weights[0]


def a_requantize_dropped(graph: GraphModule) -> None:
    """The sum keeps the steps of its first input instead of being requantized to its own scale."""
    total = operators(graph, (ATEN.add.Tensor, ATEN.add_.Tensor))[0]
    (quantize,) = total.users
    _rescale(graph, quantize.args[1:3], total.args[0].args[1:3])  # type: ignore[union-attr, arg-type]


def two_labels_swapped(graph: GraphModule) -> None:
    last = operators(graph, WEIGHTED)[-1]
    dequantize = last.args[1]
    scales = tensor_of(graph, dequantize.args[1])  # type: ignore[union-attr]
    for tensor in (_weights(graph, -1), scales, tensor_of(graph, last.args[2])):
        tensor[[2, 7]] = tensor[[7, 2]]


def normalisation_left_out(graph: GraphModule) -> None:
    first = operators(graph, WEIGHTED)[0]
    tensor_of(graph, first.args[2]).zero_()
    scale = tensor_of(graph, first.args[1].args[1])  # type: ignore[union-attr]
    weights = _weights(graph, 0)
    if weights.dtype.is_floating_point:
        weights.mul_(0.4)
    scale.mul_(0.4)


FAULTS: dict[str, Callable[[GraphModule], None]] = {
    f.__name__: f
    for f in (one_scale_by_two_percent, the_sign_of_one_channel, a_requantize_dropped, two_labels_swapped, normalisation_left_out)
}
SOUND = "sound"


@pytest.fixture(scope="module")
def programs(trained: QATModule, digits: tuple[torch.Tensor, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved programs of the sound state and of each fault, images.npy, and the references of the sound one."""
    folder = tmp_path_factory.mktemp("faults")
    state = convert(trained.eval().graph_module, signature(SIZE, 10))
    images, labels = (part[:COUNT] for part in digits)
    np.save(folder / "images.npy", images.numpy())
    for name, reference in references(state.converted).items():
        answers = reference(images)
        assert (answers.argmax(1) == labels).float().mean() > 0.85, "an untrained network would prove nothing"
        np.save(folder / f"{name}.npy", answers.numpy())
    (folder / "lsb.txt").write_text(repr(state.output_scale["logits"]))
    for name, plant in {SOUND: lambda graph: None, **FAULTS}.items():
        for form in ("converted", "unfolded"):
            graph = copy.deepcopy(getattr(state, form))
            plant(graph)
            save_program(graph, signature(SIZE, 10), folder / "programs" / f"{name}-{form}.pt2")
    return folder


# These faults take up to a minute each, and are those of the converted program, of .onnx and of .tflite.
@pytest.mark.parametrize(
    "kind",
    [pytest.param(name, marks=pytest.mark.slow) if name in ("coreml", "coreai", "executorch", "ort") else name for name in formats()],
)
def test_parity_sees_every_fault_and_none_in_the_sound_file(programs: Path, kind: str, tmp_path: Path) -> None:
    specs = [ArtifactSpec(kind, "int8", name) for name in (SOUND, *FAULTS)]
    lower(specs, programs, tmp_path, tmp_path / "lower.log", {"model": "net"})
    reference = np.load(programs / ("integer.npy" if backend(kind).integer_kernels else "converted.npy"))
    lsb = float((programs / "lsb.txt").read_text())
    found = {}
    for spec in specs:
        done = local.execute(
            executor(kind).module, tmp_path / spec.name, programs / "images.npy", signature=CLASSIFIER,
            outputs=tmp_path / f"{spec.role}.npy", threads=1, bench=None, log=tmp_path / "run.log", timeout_s=120,
        )  # fmt: skip
        assert done.outputs is not None
        outputs = np.load(done.outputs["logits"])
        found[spec.role] = quantized_parity(outputs, reference, lsb, flips(outputs, reference))
    assert found[SOUND].ok, found[SOUND]
    # The means have a scale of their own and the ReLU6 are one with their convolutions: nothing is left that runtimes round differently.
    assert found[SOUND].exact >= 0.999, found[SOUND]
    if backend(kind).measured_here:
        left = delegation(kind, tmp_path / f"{SOUND}-int8{backend(kind).suffix}").outside
        assert left == {}
    missed = {name: parity for name, parity in found.items() if name != SOUND and parity.ok}
    assert not missed
