"""The Core ML executor: against torch on whole networks, and against hand-made programs one operator at a time."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NAMES, flips, plain
from torch import nn
from torch.nn import functional as F

from edgedistill.backends.coreml.mil import float64 as mil
from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.quantize.qat import prepare_qat
from edgedistill.quantize.state import convert, state_tensors
from edgedistill.tasks.image_classification.models import signature
from edgedistill.verify.parity import float_parity, quantized_parity
from edgedistill.verify.reference import Reference

SIZE, CLASSES = 16, 10


class Net(nn.Module):
    """What timm's mobile networks are made of: strided, depthwise and pointwise convolutions, a residual, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 5, 1, 2, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.project = nn.Sequential(nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.head = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.classifier = nn.Linear(32, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        x = x + self.project(self.depthwise(x))
        return self.classifier(self.head(x).mean((2, 3)))


def _train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int, rate: float) -> None:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    model.train()
    for _ in range(steps):
        batch = torch.randint(0, len(images), (64,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    model.eval()


def _save(program: Any, path: Path, **options: Any) -> Path:
    import coremltools as ct

    options = {"minimum_deployment_target": ct.target.iOS17, "skip_model_load": True, **options}
    ct.convert(program, **options).save(str(path))
    return path


def _run(path: Path, images: np.ndarray) -> np.ndarray:
    infer = plain(mil.load(str(path), 1, NAMES))
    return np.concatenate([infer(image[None]) for image in images])


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    return F.interpolate(pixels, size=(SIZE, SIZE), mode="bilinear").repeat(1, 3, 1, 1), torch.tensor(digits.target)


@pytest.fixture(scope="module")
def float_net(images: tuple[torch.Tensor, torch.Tensor]) -> Net:
    torch.manual_seed(0)
    net = Net()
    _train(net, images[0][:1400], images[1][:1400], 80, 5e-3)
    return net


@pytest.fixture(scope="module")
def quantized(float_net: Net, images: tuple[torch.Tensor, torch.Tensor]) -> torch.fx.GraphModule:
    module = prepare_qat(float_net, signature(SIZE, CLASSES))
    _train(module, images[0][:1400], images[1][:1400], 4, 1e-4)
    return convert(module.eval().graph_module, signature(SIZE, CLASSES)).converted


@pytest.fixture(scope="module")
def lsb(quantized: torch.fx.GraphModule) -> float:
    return float(state_tensors(quantized)["output.scale"])


@pytest.fixture(scope="module")
def validation(images: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return images[0][1400:1500]


@pytest.fixture(scope="module")
def int8_package(quantized: torch.fx.GraphModule, validation: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import coremltools as ct

    program = torch.export.export(quantized, (validation[:1],)).run_decompositions({})
    return _save(program, tmp_path_factory.mktemp("int8") / "int8.mlpackage", compute_precision=ct.precision.FLOAT32)


@pytest.fixture(scope="module")
def converted(quantized: torch.fx.GraphModule, validation: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return torch.cat([quantized(image[None]) for image in validation]).numpy()


@pytest.mark.parametrize(("precision", "limit"), [("FLOAT32", 1e-5), ("FLOAT16", 1e-2)])
def test_a_float_package_computes_the_network(
    precision: str, limit: float, float_net: Net, validation: torch.Tensor, tmp_path: Path
) -> None:
    import coremltools as ct

    program = torch.export.export(float_net, (validation[:1],)).run_decompositions({})
    path = _save(program, tmp_path / "net.mlpackage", compute_precision=ct.precision[precision])
    with torch.no_grad():
        expected = float_net(validation).numpy()
    outputs = _run(path, validation.numpy())
    assert outputs.dtype == np.float32
    parity = float_parity(outputs, expected, relative_limit=limit)
    assert parity.ok, parity
    # Weights rounded to float16 must show, else they were read at another precision than the file's.
    assert (parity.relative > 1e-5) == (precision == "FLOAT16"), parity


def test_an_int8_package_computes_the_converted_program(
    int8_package: Path, converted: np.ndarray, lsb: float, validation: torch.Tensor
) -> None:
    outputs = _run(int8_package, validation.numpy())
    parity = quantized_parity(outputs, converted, lsb, flips(outputs, converted))
    assert parity.ok, parity
    assert parity.exact > 0.9, parity


def test_a_wrong_requantize_fails_the_parity_although_the_argmax_agrees(
    int8_package: Path, converted: np.ndarray, lsb: float, validation: torch.Tensor, tmp_path: Path
) -> None:
    broken = shutil.copytree(int8_package, tmp_path / "broken.mlpackage")
    _scale_dequantize_before_the_classifier(broken, 1.05)
    outputs = _run(broken, validation.numpy())
    parity = quantized_parity(outputs, converted, lsb, flips(outputs, converted))
    assert parity.flips <= 2, parity
    assert not parity.ok, parity


def _scale_dequantize_before_the_classifier(package: Path, factor: float) -> None:
    """What a converter does that drops a requantize: the integers are right, the scale that reads them is another."""
    import coremltools as ct

    model = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    spec = ct.proto.Model_pb2.Model()
    spec.ParseFromString(model.read_bytes())
    block = next(iter(spec.mlProgram.functions["main"].block_specializations.values()))
    by_output = {operation.outputs[0].name: operation for operation in block.operations}
    linear = next(operation for operation in block.operations if operation.type == "linear")
    dequantize = by_output[linear.inputs["x"].arguments[0].name]
    assert dequantize.type == "dequantize"
    # The scale is a constant of its own or shared with the quantize: the copy changes the one use only.
    scale = by_output[dequantize.inputs["scale"].arguments[0].name]
    changed = type(scale)()
    changed.CopyFrom(scale)
    changed.outputs[0].name = "another_scale"
    values = changed.attributes["val"].immediateValue.tensor.floats.values
    values[0] *= factor
    block.operations.insert(0, changed)
    dequantize.inputs["scale"].arguments[0].name = "another_scale"
    model.write_bytes(spec.SerializeToString())


def _operators(tmp_path: Path, shape: tuple[int, ...], build: Callable[..., Any]) -> Path:
    """A package whose program is `build(builder, x)`, written without any pass that could change it."""
    import coremltools as ct
    from coremltools.converters.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec(shape)], opset_version=ct.target.iOS17)
    def program(x: Any) -> Any:
        return build(Builder, x)

    options = {"compute_precision": ct.precision.FLOAT32, "pass_pipeline": ct.PassPipeline.EMPTY}
    return _save(program, tmp_path / "operators.mlpackage", **options)


def _values(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("pad_type", "pad", "before_after"),
    [
        ("valid", None, (0, 0, 0, 0)),
        ("custom", [1, 2, 0, 3], (1, 2, 0, 3)),
        # 9 rows, stride 2, kernel 2 dilated to 3: 5 outputs need 2 more; 8 columns, stride 3, kernel 3: 3 need 1 more.
        ("same", None, (1, 1, 0, 1)),
        ("same_lower", None, (1, 1, 1, 0)),
    ],
)
def test_convolutions_follow_padding_groups_and_dilations(
    groups: int, pad_type: str, pad: list[int] | None, before_after: tuple[int, ...], tmp_path: Path
) -> None:
    x, weight, bias = _values(1, 4, 9, 8), _values(8, 4 // groups, 2, 3), _values(8)
    top, bottom, left, right = before_after
    padded = F.pad(x.double(), (left, right, top, bottom))
    expected = F.conv2d(padded, weight.double(), bias.double(), (2, 3), 0, (2, 1), groups)
    options = {"strides": [2, 3], "dilations": [2, 1], "groups": groups, "pad_type": pad_type} | ({} if pad is None else {"pad": pad})
    path = _operators(tmp_path, (1, 4, 9, 8), lambda mb, v: mb.conv(x=v, weight=weight.numpy(), bias=bias.numpy(), **options))
    np.testing.assert_allclose(_run(path, x.numpy()), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_pools_follow_padding(tmp_path: Path) -> None:
    # All values below zero: a maximum over padded zeros would be zero.
    x = -1 - _values(1, 2, 7, 7).abs()
    custom = {"kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1]}

    def build(mb: Any, v: Any) -> Any:
        biggest = mb.max_pool(x=v, **custom)
        inside = mb.avg_pool(x=v, exclude_padding_from_average=True, **custom)
        whole = mb.avg_pool(x=v, exclude_padding_from_average=False, **custom)
        rounded_up = mb.max_pool(x=v, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid", ceil_mode=True)
        up = {"strides": [2, 2], "ceil_mode": True, "exclude_padding_from_average": True}
        average_up = mb.avg_pool(x=v, kernel_sizes=[2, 2], pad_type="valid", **up)
        padded_up = mb.avg_pool(x=v, kernel_sizes=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], **up)
        return mb.concat(values=[biggest, inside, whole, rounded_up, average_up, padded_up], axis=1)

    expected = [
        F.max_pool2d(x, 3, 2, 1),
        F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        F.avg_pool2d(x, 3, 2, 1, count_include_pad=True),
        F.max_pool2d(x, 2, 2, ceil_mode=True),
        F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False),
        F.avg_pool2d(x, 2, 2, 1, ceil_mode=True, count_include_pad=False),
    ]
    np.testing.assert_allclose(_run(_operators(tmp_path, (1, 2, 7, 7), build), x.numpy()), torch.cat(expected, 1).numpy(), rtol=1e-6)


def test_an_average_over_the_edge_is_divided_by_the_whole_kernel_as_core_ml_does(tmp_path: Path) -> None:
    """The figures of coremltools' pull request 2844: AvgPool2d(2, stride=3, ceil_mode=True) on a Mac."""

    def build(mb: Any, v: Any) -> Any:
        return mb.avg_pool(
            x=v, kernel_sizes=[2, 2], strides=[3, 3], pad_type="custom", pad=[0] * 4, ceil_mode=True, exclude_padding_from_average=False
        )

    image = np.arange(49, dtype=np.float32).reshape(1, 1, 7, 7)
    expected = [[4.0, 7.0, 4.75], [25.0, 28.0, 15.25], [21.25, 22.75, 12.0]]
    np.testing.assert_array_equal(_run(_operators(tmp_path, (1, 1, 7, 7), build), image)[0, 0], np.array(expected, np.float32))


def test_quantize_rounds_half_to_even_and_saturates(tmp_path: Path) -> None:
    x = np.array([[0.25, 0.75, 1.25, -0.25, -0.75, 100.0, -100.0]], np.float32)
    half = np.float32(0.5)

    def build(mb: Any, v: Any) -> Any:
        rows = []
        for dtype in ("int8", "uint8"):
            point = np.array(3, dtype)
            steps = mb.quantize(input=v, scale=half, zero_point=point, output_dtype=dtype)
            rows.append(mb.dequantize(input=steps, scale=half, zero_point=point))
        return mb.concat(values=rows, axis=1)

    int8 = [0.0, 1.0, 1.0, 0.0, -1.0, (127 - 3) / 2, (-128 - 3) / 2]
    uint8 = [0.0, 1.0, 1.0, 0.0, -1.0, (100 / 0.5) / 2, -3 / 2]
    np.testing.assert_array_equal(_run(_operators(tmp_path, (1, 7), build), x), np.array([int8 + uint8], np.float32))


def test_shapes_and_activations(tmp_path: Path) -> None:
    x = 4 * _values(1, 3, 4)

    def build(mb: Any, v: Any) -> Any:
        part = mb.slice_by_index(x=v, begin=[0, 1, 0], end=[1, 3, 4], stride=[1, 1, 2], end_mask=[True, False, False])
        deep = mb.expand_dims(x=part, axes=[-1, 0])
        flat = mb.reshape(x=mb.transpose(x=mb.squeeze(x=deep, axes=[0, 4]), perm=[0, 2, 1]), shape=[1, -1])
        rows = [mb.clip(x=flat, alpha=-1.0, beta=2.0), mb.sigmoid_hard(x=flat, alpha=0.2, beta=0.5), mb.relu6(x=flat), mb.silu(x=flat)]
        return mb.concat(values=[*rows, mb.thresholded_relu(x=flat, alpha=1.0), mb.softmax(x=flat, axis=-1)], axis=1)

    flat = x[:, 1:3, 0:4:2].permute(0, 2, 1).reshape(1, -1)
    rows = [flat.clamp(-1, 2), (flat * 0.2 + 0.5).clamp(0, 1), F.relu6(flat), F.silu(flat), flat * (flat >= 1), flat.softmax(-1)]
    np.testing.assert_allclose(_run(_operators(tmp_path, (1, 3, 4), build), x.numpy()), torch.cat(rows, 1).numpy(), rtol=1e-5, atol=1e-6)


def test_a_missing_operator_is_named_with_what_it_computes(tmp_path: Path) -> None:
    path = _operators(tmp_path, (1, 4), lambda mb, v: mb.relu(x=mb.add(x=v, y=mb.random_normal(shape=[1, 4], name="noise"))))
    with pytest.raises(ValueError, match=r"random_normal.*noise"):
        plain(mil.load(str(path), 1, NAMES))


def test_an_operation_that_fails_is_named(tmp_path: Path) -> None:
    path = _operators(tmp_path, (1, 4), lambda mb, v: mb.reshape(x=v, shape=[2, 2], name="square"))
    with pytest.raises(ValueError, match=r"cannot execute reshape \(gives square\)"):
        _run(path, np.zeros((1, 3), np.float32))


class Requantized(nn.Module):
    """Quantized, flattened, quantized with another scale: what a quantizer gives that observes the two sides of a flatten by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * SIZE * SIZE, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = _step(torch.flatten(_step(image, 0.01), 1), 0.0125)
        return _step(self.layer(x), LSB)


LSB = 0.05


def _step(x: torch.Tensor, scale: float) -> torch.Tensor:
    ops = torch.ops.quantized_decomposed
    limits = (scale, 0, -128, 127, torch.int8)
    return ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *limits), *limits)


@pytest.mark.parametrize("dropped", [False, True])
def test_a_dropped_requantize_fails_the_parity(dropped: bool, validation: torch.Tensor, images: Any, tmp_path: Path) -> None:
    """coremltools' pass int_op_canonicalization makes dequantize, reshape, quantize a reshape of integers, whatever the two scales."""
    import coremltools as ct

    torch.manual_seed(0)
    module = Requantized()
    _train(module.layer, images[0][:1400].flatten(1), images[1][:1400], 60, 1e-2)
    program = torch.export.export(module.eval(), (validation[:1],)).run_decompositions({})
    passes = ct.PassPipeline()
    if not dropped:
        passes.remove_passes({"common::int_op_canonicalization"})
    path = _save(program, tmp_path / "net.mlpackage", compute_precision=ct.precision.FLOAT32, pass_pipeline=passes)
    with torch.no_grad():
        expected = Reference(torch.export.export(module, (validation[:1],)).module(check_guards=False))(validation).numpy()
    outputs = _run(path, validation.numpy())
    parity = quantized_parity(outputs, expected, LSB, flips(outputs, expected))
    quantized = [step.operator for step in mil_program.read(str(path)).steps].count("quantize")
    assert quantized == (2 if dropped else 3)
    assert parity.ok == (not dropped), parity
    if dropped:
        assert parity.flips <= 2, parity
        assert parity.mean_lsb > 1, parity
