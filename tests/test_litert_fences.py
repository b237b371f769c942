"""What an int8 program computes in floating point, an int8 .tflite does too: recurrent layers, and softmaxes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgedistill.backends.litert import adapter
from edgedistill.backends.litert.lower import lower
from edgedistill.quantize.state import convert
from edgedistill.quantize.static import calibrate
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec
from edgedistill.tasks.modules import batches_of, predict
from edgedistill.verify.integer import IntegerReference
from edgedistill.verify.outputs import compare

SAMPLES = torch.randn(12, 1, 5, 8, generator=torch.Generator().manual_seed(1))


class States(nn.Module):
    """A layer whose states are quantized for the head, and are an output of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.RNN(8, 12, nonlinearity="relu", batch_first=True), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        states, last = self.layer(x)
        return self.head(states), last[0]


class TwoLayers(nn.Module):
    """Two layers in two directions, of which the second reads the states of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(8, 12, 2, batch_first=True, bidirectional=True), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0])


class Shares(nn.Module):
    """A softmax that is quantized for the head, beside another one, and is an output of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.other, self.head = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        share = torch.softmax(self.enter(x), -1)
        return self.head(torch.cat([share, torch.softmax(self.other(x), -1)], -1)), share


@pytest.mark.parametrize("build", [States, TwoLayers, Shares])
@pytest.mark.filterwarnings("ignore:.*were assigned during export")
def test_a_file_gives_the_values_of_the_program(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build().eval()
    given = net(SAMPLES[0])
    shapes = [tuple(value.shape) for value in (given if isinstance(given, tuple) else (given,))]
    signature = Signature.of(
        [TensorSpec(name="x", dtype="float32", shape=(1, 5, 8))],
        [TensorSpec(name=f"output_{place}", dtype="float32", shape=shape) for place, shape in enumerate(shapes)],
    )
    state = convert(calibrate(net, signature, [(sample,) for sample in SAMPLES], any_batch=False), signature)
    lower(torch.export.export(state.unfolded, (SAMPLES[0],)), signature, tmp_path / "net.tflite", ArtifactSpec("litert", "int8"), {})
    adapter.prepare(1)
    forward = adapter.load(str(tmp_path / "net.tflite"), 1, signature.forward.model_dump(mode="json"))
    for sample in SAMPLES:
        arrays = {"x": sample.numpy()}
        expected = predict(IntegerReference(state.converted), batches_of(arrays, 1), signature.forward)
        for name, error in compare(forward(arrays), expected).items():
            assert error.largest is not None, name
            assert error.largest < 1e-5, (name, error)
