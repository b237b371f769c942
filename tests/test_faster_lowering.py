"""Lowering to XNNPACK leaves out passes that find nothing, and writes the same file."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import executorch.backends.xnnpack._passes as passes
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgedistill.backends.executorch import faster, lower
from edgedistill.quantize.state import convert
from edgedistill.quantize.static import calibrate
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec

IMAGE = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """A convolution [1, 4, 6, 6], and `head` of it and its other layers."""

    def __init__(self, head: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = head
        self.conv, self.signal, self.linear, self.prelu = nn.Conv2d(3, 4, 3), nn.Conv1d(4, 4, 3), nn.Linear(4, 4), nn.PReLU()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self, self.conv(image))


def few(net: nn.Module, x: Tensor) -> Tensor:
    return x


def many(net: nn.Module, x: Tensor) -> Tensor:
    """A head that every pass has something to do for."""
    x = net.norm(torch.relu(torch.cat([x, x + 1, x, x - 1, x, x * 2], 1))[:, 20:])
    x = net.prelu(F.max_pool2d(x, 2))
    signal = net.signal(x.flatten(2))
    attention = torch.softmax(torch.bmm(signal, signal.transpose(1, 2)), -1)
    return net.linear(attention)[:, [2, 0, 1]]


@pytest.mark.parametrize("head", [few, many])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_file_is_the_same(
    head: Callable[[nn.Module, Tensor], Tensor], precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net(head).eval()
    output = TensorSpec(name="output", dtype="float32", shape=tuple(net(IMAGE).shape))
    signature = Signature.of([TensorSpec(name="image", dtype="float32", shape=(1, 3, 8, 8))], [output])
    module: nn.Module = net
    if precision == "int8":
        module = convert(calibrate(net, signature, [(IMAGE,)], any_batch=False), signature).converted
    program = torch.export.export(module, (IMAGE,))
    called: list[str] = []
    transform = passes._transform
    monkeypatch.setattr(passes, "_transform", lambda program, each: called.append(type(each).__name__) or transform(program, each))
    files, counts = [], []
    for context in (faster.faster, nullcontext):
        called.clear()
        monkeypatch.setattr(faster, "faster", context)
        path = tmp_path / context.__name__
        lower.lower(program, signature, path, ArtifactSpec("executorch", precision), {})
        files.append(path.read_bytes())
        counts.append(len(called))
    assert files[0] == files[1]
    # Of 17 passes a single convolution needs seven.
    assert counts == ([7, 17] if head is few else [counts[0], 17 * (counts[1] // 17)])
