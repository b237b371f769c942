"""The Core ML executor on what coremltools makes of torch modules: a ViT, a bag of layers, a module with a state."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NAMES, plain
from torch import nn
from torch.nn import functional as F

from edgedistill.backends.coreml.mil import float64 as mil
from edgedistill.backends.coreml.mil import program as mil_program


def convert(module: nn.Module, image: torch.Tensor, target: str = "iOS17", precision: str = "FLOAT32") -> Any:
    """The package of `module`, as backends/coreml/lower.py lowers one."""
    mil_program.prepare(1)
    import coremltools as ct

    program = torch.export.export(module.eval(), (image,)).run_decompositions({})
    return ct.convert(program, minimum_deployment_target=ct.target[target], compute_precision=ct.precision[precision], skip_model_load=True)


def save(model: Any, path: Path) -> str:
    model.save(str(path))
    return str(path)


def operators(path: str) -> set[str]:
    return {step.operator for step in mil_program.read(path).steps}


class ViT(nn.Module):
    """One block of a vision transformer with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 32)), nn.Parameter(torch.randn(1, 17, 32))
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(32), nn.LayerNorm(32), nn.LayerNorm(32)
        self.qkv, self.project = nn.Linear(32, 96), nn.Linear(32, 32)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.head = nn.Linear(32, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token, x], 1) + self.positions
        q, k, v = self.qkv(self.norm1(x)).reshape(1, 17, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.project(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, 17, 32))
        x = x + self.mlp(self.norm2(x))
        return self.head(self.norm3(x)[:, 0])


class Bag(nn.Module):
    """Layers that a convolutional network may have, each of whose results is a part of the output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.PReLU(8))
        self.up = nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1, groups=2)
        self.norm = nn.InstanceNorm2d(8, affine=True)
        self.line = nn.Conv1d(8, 4, 3, padding=1, groups=2)
        self.cube = nn.Conv3d(1, 2, (3, 1, 3), padding=(1, 0, 1))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        nn.init.normal_(self.norm.weight)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.stem(image)
        x = self.norm(x * self.gate(x))
        parts = [
            F.hardswish(self.up(x)),
            F.leaky_relu(self.line(x.flatten(2)), 0.2),
            F.elu(self.cube(x[:, None])),
            F.max_pool2d(x, 3, 2, 1),
            F.softplus(F.avg_pool2d(x, 2, ceil_mode=True)),
            F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False),
            F.interpolate(x, scale_factor=2.0, mode="nearest"),
            F.pad(x, (1, 2, 0, 1), mode="reflect"),
            torch.where(x > 0, x.clamp(max=0.7), x.exp()),
            x.cumsum(2).topk(3, dim=3).values,
            torch.stack([x.flip(2), x.roll(1, 3)], 1)[:, :, ::2, 1:, :-1],
            x.index_select(1, torch.tensor([3, 0])).argmax(3).float(),
            torch.einsum("nchw,ncwv->nchv", x, x.transpose(2, 3)).std(3),
            F.normalize(x, dim=1) ** 2 // 0.1 + x.floor() % 3,
            F.pixel_shuffle(x, 2).amax((2, 3)).log1p().rsqrt(),
        ]
        return torch.cat([part.flatten(1) for part in parts], 1)


def _image(size: int = 16) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("target", "attention"), [("iOS17", "softmax"), ("iOS18", "scaled_dot_product_attention")])
def test_a_vision_transformer(target: str, attention: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, image = ViT(), _image()
    path = save(convert(module, image, target), tmp_path / "vit.mlpackage")
    assert {attention, "layer_norm", "gelu"} <= operators(path)
    expected = module.double()(image.double()).detach().numpy()
    np.testing.assert_allclose(plain(mil.load(path, 1, NAMES))(image.numpy()), expected, rtol=1e-5, atol=1e-5)


def test_a_bag_of_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, image = Bag(), _image()
    path = save(convert(module, image), tmp_path / "bag.mlpackage")
    assert len(operators(path)) > 30, operators(path)
    expected = module.double()(image.double()).detach().numpy()
    np.testing.assert_allclose(plain(mil.load(path, 1, NAMES))(image.numpy()), expected, rtol=1e-4, atol=1e-5)


class Memory(nn.Module):
    """Adds up what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(1, 4))
        self.layer = nn.Linear(12, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.total.add_(self.layer(image.flatten(1)))
        return self.total * 2


def test_a_state_goes_from_call_to_call(tmp_path: Path) -> None:
    mil_program.prepare(1)
    import coremltools as ct

    torch.manual_seed(0)
    module, image = Memory().eval(), _image(2)
    traced = torch.jit.trace(module, image)
    model = ct.convert(
        traced,
        inputs=[ct.TensorType(name="image", shape=(1, 3, 2, 2))],
        outputs=[ct.TensorType(name="doubled", dtype=np.float32)],
        states=[ct.StateType(wrapped_type=ct.TensorType(shape=(1, 4)), name="total")],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    )
    path = save(model, tmp_path / "memory.mlpackage")
    assert {"read_state", "coreml_update_state"} <= operators(path)
    once = 2 * module.layer(image.flatten(1)).detach().numpy()
    call = plain(mil.load(path, 1, NAMES))
    for times in (1, 2, 3):
        np.testing.assert_allclose(call(image.numpy()), times * once, rtol=2e-3, atol=2e-3)
    # Another load has a state of its own.
    np.testing.assert_allclose(plain(mil.load(path, 1, NAMES))(image.numpy()), once, rtol=2e-3, atol=2e-3)


def test_other_numbers_of_outputs_are_refused_by_the_adapter(tmp_path: Path) -> None:
    mil_program.prepare(1)
    import coremltools as ct
    from coremltools.converters.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec((1, 4))], opset_version=ct.target.iOS17)
    def program(x: Any) -> Any:
        return Builder.relu(x=x, name="first"), Builder.tanh(x=x, name="second")

    path = save(ct.convert(program, minimum_deployment_target=ct.target.iOS17, skip_model_load=True), tmp_path / "two.mlpackage")
    with pytest.raises(ValueError, match=r"expected the outputs y, found 2 in the file: first, second"):
        plain(mil.load(path, 1, NAMES))
