"""The integer reference: each kernel against integers computed by hand, and whole artifacts against it, bit for bit."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgedistill.quantize.graph import operators, tensor_of
from edgedistill.quantize.qat import prepare_qat
from edgedistill.quantize.rewrite import plain_batchnorm
from edgedistill.quantize.state import QuantizedState, convert
from edgedistill.tasks.image_classification.models import signature
from edgedistill.verify import kernels
from edgedistill.verify.integer import IntegerReference
from edgedistill.verify.kernels import Steps, Weights
from edgedistill.verify.parity import quantized_parity
from edgedistill.verify.rungs import load_converted

INT8 = (-128, 127, torch.int8)
# No saturation, so that every difference is seen.
WIDE = (-(2**30), 2**30, torch.int32)


def steps(*shape: int, seed: int = 0, scale: float = 0.1, zero_point: int = 3) -> Steps:
    generator = torch.Generator().manual_seed(seed)
    return Steps(torch.randint(-128, 128, shape, generator=generator).float(), float(np.float32(scale)), zero_point)


def test_a_convolution_sums_in_integers_and_multiplies_in_float32() -> None:
    x = steps(2, 4, 5, 5)
    generator = torch.Generator().manual_seed(1)
    weight = Weights(torch.randint(-127, 128, (6, 2, 3, 3), generator=generator).float(), torch.rand(6, generator=generator) * 0.01 + 0.001)
    products = np.float32(x.scale) * weight.scales.numpy()
    bias = np.arange(-3, 3) * 100
    pending = kernels.convolution(x, weight, torch.tensor(bias * products.astype(np.float64)), 2, 1, 1, 2)
    assert pending is not None
    # A step of about that of the sums: a bias of one more, or a product that is not rounded to float32, is another result.
    step = float(np.float32(0.013))
    found = kernels.quantize(kernels.relu(pending), step, -7, *WIDE)

    integers = np.pad(x.values.numpy().astype(np.int64) - x.zero_point, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.zeros((2, 6, 3, 3))
    for n, o, i, j in np.ndindex(expected.shape):
        window = integers[n, (o // 3) * 2 : (o // 3) * 2 + 2, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        total = int((window * weight.values[o].numpy().astype(np.int64)).sum() + bias[o])
        rounded = np.rint(np.float32(total) * (products[o] / np.float32(step)))
        expected[n, o, i, j] = max(rounded - 7, -7)
    assert np.array_equal(found.numpy(), expected)


def test_the_multiplier_is_rounded_to_float32() -> None:
    x = Steps(torch.arange(-128, 128).float().expand(1, 1, 16, 256), float(np.float32(0.1)), 0)
    x = Steps((x.values.reshape(1, 1, -1)[0, 0] * 1.0).reshape(-1, 1), x.scale, 0)
    values = torch.arange(1.0, 128.0).reshape(-1, 1)
    scales = torch.linspace(1e-4, 9e-3, 127)
    pending = kernels.linear(x, Weights(values, scales))
    assert pending is not None
    step = np.float32(0.0007)
    products = np.float32(x.scale) * scales.numpy()
    total = x.values.numpy().astype(np.int64) * values.numpy().astype(np.int64).T
    expected = np.rint(total.astype(np.float32) * (products / step))
    assert np.array_equal(kernels.quantize(pending, float(step), 0, *WIDE).numpy(), expected)
    assert (expected != np.rint(total * (products.astype(np.float64) / np.float64(step)))).any(), "some results tell the two apart"


def test_sums_beyond_float32_stay_exact() -> None:
    x, weight = steps(1, 4096, zero_point=-128), Weights(torch.full((1, 4096), 127.0), torch.tensor([1e-6]))
    pending = kernels.linear(x, weight)
    assert pending is not None
    exact = int((x.values.numpy().astype(np.int64) + 128).sum()) * 127
    assert exact > 2**24
    assert float(pending.exact()) == pytest.approx(exact * float(np.float32(x.scale) * np.float32(1e-6)), rel=1e-12)


def test_a_sum_is_in_fixed_point_and_rounds_halves_up() -> None:
    a = Steps(torch.tensor([1.0, 2.0, -1.0, 3.0]), 0.5, 0)
    b = Steps(torch.zeros(4), 0.5, 0)
    pending = kernels.add(a, b)
    assert pending is not None
    assert kernels.quantize(pending, 1.0, 0, *INT8).tolist() == [1, 1, 0, 2]


def test_the_multipliers_of_a_sum_have_21_bits() -> None:
    every = torch.arange(-128, 128).float()
    a, b = (
        Steps(every[:, None].expand(256, 256), float(np.float32(0.0731)), 3),
        Steps(every[None].expand(256, 256), float(np.float32(0.0113)), -20),
    )
    step = np.float32(0.0817)
    pending = kernels.add(a, b)
    assert pending is not None
    ratios = np.array([np.float32(a.scale), np.float32(b.scale)], np.float32) / step
    multipliers = np.rint(ratios.astype(np.float64) * 2.0**21).astype(np.int64)
    assert 2**20 <= multipliers[0] <= 2**21, "0.5 <= ratio < 1"
    total = a.shifted.numpy().astype(np.int64) * multipliers[0] + b.shifted.numpy().astype(np.int64) * multipliers[1]
    expected = np.clip(((total + (1 << 20)) >> 21) + 4, -128, 127)
    assert np.array_equal(kernels.quantize(pending, float(step), 4, *INT8).numpy(), expected)


def test_a_mean_divides_the_sum_of_integers() -> None:
    x = steps(3, 2, 4, 4)
    pending = kernels.global_average(x, [1, 1])
    assert pending is not None
    total = (x.values.numpy().astype(np.int64) - 3).sum(axis=(2, 3), keepdims=True)
    expected = np.clip(np.rint(total.astype(np.float32) * (np.float32(x.scale) / np.float32(0.05) / np.float32(16))) - 1, -128, 127)
    assert np.array_equal(kernels.quantize(pending, 0.05, -1, *INT8).numpy(), expected)
    assert kernels.global_average(x, [2, 2]) is None


def test_steps_of_the_same_scale_pass_unchanged_and_of_another_are_converted() -> None:
    x = steps(64)
    assert torch.equal(kernels.quantize(x, x.scale, 3, *INT8), x.values)
    converted = kernels.quantize(x, 0.2, 3, *INT8)
    multiplier = round(256 * float(np.float32(x.scale) / np.float32(0.2)))
    expected = ((x.values.numpy().astype(np.int64) - 3) * multiplier + (3 << 8) + 128) >> 8
    assert np.array_equal(converted.numpy(), expected)
    assert not torch.equal(converted, x.values)


class Net(nn.Module):
    """Convolutions, a residual sum, pooling and a layer norm, which stays in floating point."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(image))
        x = x + torch.relu(self.second(x))
        return self.head(self.norm(x.mean((2, 3))))


@pytest.fixture(scope="module")
def state() -> QuantizedState:
    torch.manual_seed(0)
    module = prepare_qat(plain_batchnorm(Net().eval()), signature(16, 10))
    module.train()(torch.rand(16, 3, 16, 16))
    return convert(module.eval().graph_module, signature(16, 10))


def test_the_integers_are_within_a_step_of_the_float64_program(state: QuantizedState) -> None:
    from edgedistill.verify.reference import Reference

    images = torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    reference = IntegerReference(state.converted)
    found = reference(images)
    difference = (found - Reference(state.converted)(images)).abs() / state.output_scale["logits"]
    assert difference.max() < 1.01
    assert torch.equal(found[:5], reference(images[:5])), "an answer does not depend on the batch"
    assert list(reference.floats) == ["aten.layer_norm.default"], "only the layer norm is computed in floating point"


def test_a_trace_gives_the_steps_of_the_nodes_that_were_asked_for(state: QuantizedState) -> None:
    name = next(n.name for n in state.converted.graph.nodes if "quantize_per_tensor" in n.name)
    _, kept = IntegerReference(state.converted).trace(torch.rand(1, 3, 16, 16), keep=(name,))
    assert list(kept) == [name]
    assert torch.equal(kept[name], kept[name].round())


@pytest.mark.parametrize("suffix", ["pte", "tflite", "onnx"])
def test_files_equal_the_integer_reference_bit_for_bit(tiny: Path, suffix: str) -> None:
    run = tiny / "runs" / "tiny"
    images, found = (
        np.load(run / "work" / "programs" / "samples" / "image.npy"),
        np.load(run / "work" / f"val-student-int8.{suffix}" / "outputs" / "logits.npy"),
    )
    reference = IntegerReference(load_converted(run / "work" / "programs" / "student-reference.pt2"))
    scale = json.loads((run / "work" / "records" / "programs.json").read_text())["result"]["output_scale"]["logits"]
    parity = quantized_parity(found, reference(torch.from_numpy(images)).numpy(), scale)
    assert parity.within_1_lsb >= 0.995, parity
    if suffix != "onnx":
        assert parity.exact >= 0.999, parity
    assert not reference.floats


def test_one_weight_channel_of_the_wrong_sign_is_seen(tiny: Path) -> None:
    run = tiny / "runs" / "tiny"
    images = torch.from_numpy(np.load(run / "work" / "programs" / "samples" / "image.npy"))
    converted = load_converted(run / "work" / "programs" / "student-reference.pt2")
    changed = copy.deepcopy(converted)
    convolutions = operators(changed, (torch.ops.aten.conv2d.default,))
    weight = tensor_of(changed, convolutions[len(convolutions) // 2].args[1].args[0])
    weight[0] = -weight[0]
    scale = json.loads((run / "work" / "records" / "programs.json").read_text())["result"]["output_scale"]["logits"]
    parity = quantized_parity(IntegerReference(changed)(images).numpy(), IntegerReference(converted)(images).numpy(), scale)
    assert parity.exact < 0.99
