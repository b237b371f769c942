"""A .pte computes what its program does where XNNPACK's lowering needs another form of it: softmaxes of images, and paddings of int8."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.backends.executorch import adapter
from edgedistill.backends.executorch.lower import lower
from edgedistill.quantize.state import convert
from edgedistill.quantize.static import calibrate
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec
from edgedistill.verify.integer import IntegerReference

IMAGE = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Behind(nn.Module):
    """A convolution, and `head` of its result [1, 4, 6, 6]."""

    def __init__(self, head: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 4, 3), head

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.conv(image))


def signature(shape: tuple[int, ...]) -> Signature:
    return Signature.of(
        [TensorSpec(name="image", dtype="float32", shape=tuple(IMAGE.shape))], [TensorSpec(name="output", dtype="float32", shape=shape)]
    )


def ran(program: torch.export.ExportedProgram, shape: tuple[int, ...], precision: str, folder: Path) -> Tensor:
    """What the file gives for IMAGE."""
    path, made = folder / "net.pte", signature(shape)
    lower(program, made, path, ArtifactSpec("executorch", precision), {})
    adapter.prepare(1)
    (output,) = adapter.load(str(path), 1, made.forward.model_dump(mode="json"))({"image": IMAGE.numpy()}).values()
    return torch.from_numpy(output)


@pytest.mark.parametrize("head", [lambda x: torch.softmax(x, -1), lambda x: torch.softmax(F.pad(x, (1, 1, 1, 1)), 3)], ids=["", "padded"])
def test_a_softmax_over_the_width_of_an_image(head: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    net = Behind(head).eval()
    expected = net(IMAGE).detach()
    found = ran(torch.export.export(net, (IMAGE,)), tuple(expected.shape), "fp32", tmp_path)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_padding_between_int8_and_floating_point(tmp_path: Path) -> None:
    net, made = Behind(lambda x: F.pad(x, (1, 2)).permute(0, 2, 3, 1)), signature((1, 6, 9, 4))
    state = convert(calibrate(net, made, [(IMAGE,)], any_batch=False), made)
    found = ran(torch.export.export(state.converted, (IMAGE,)), (1, 6, 9, 4), "int8", tmp_path)
    assert torch.allclose(found, IntegerReference(state.converted)(IMAGE), atol=1e-6)
