"""A part of a tensor keeps the steps of the whole."""

from pathlib import Path

import torch
from torch import Tensor, nn

from edgedistill.backends.executorch import adapter
from edgedistill.backends.executorch.lower import lower
from edgedistill.quantize.state import convert
from edgedistill.quantize.static import calibrate
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec
from edgedistill.verify.integer import IntegerReference

SIGNATURE = Signature.of(
    [TensorSpec(name="image", dtype="float32", shape=(1, 3, 8, 8))], [TensorSpec(name="output", dtype="float32", shape=(1, 8, 8, 8))]
)


class Shuffled(nn.Module):
    """A block of ShuffleNet: one half goes on as it is, the other, of a third of its range, through a convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 1)
        with torch.no_grad():
            # What the second half is after the shuffle.
            self.first.weight[[2, 3, 6, 7]] *= 0.3
            self.first.bias[[2, 3, 6, 7]] *= 0.3

    def forward(self, image: Tensor) -> Tensor:
        shuffled = torch.relu(self.first(image)).view(1, 2, 4, 8, 8).transpose(1, 2).contiguous().view(1, 8, 8, 8)
        kept, read = shuffled.chunk(2, 1)
        return torch.cat([kept, 2 * torch.relu(self.second(read))], 1)


def test_a_slice_is_not_rounded_again(tmp_path: Path) -> None:
    images = torch.rand(16, 1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    state = convert(calibrate(Shuffled().eval(), SIGNATURE, [(image,) for image in images], any_batch=False), SIGNATURE)
    quantize, slices = torch.ops.quantized_decomposed.quantize_per_tensor.default, torch.ops.aten.slice.Tensor
    nodes = [node for node in state.converted.graph.nodes if node.target == quantize]
    (whole,) = {node.args[1:3] for node in nodes if node.args[0].target == torch.ops.aten.transpose.int}
    (joined,) = {node.args[1:3] for node in nodes if node.args[0].target == torch.ops.aten.cat.default}
    assert [node.args[1:3] for node in nodes if node.args[0].target == slices] == [whole, whole]
    assert joined == whole
    path = tmp_path / "net.pte"
    lower(torch.export.export(state.converted, (images[0],)), SIGNATURE, path, ArtifactSpec("executorch", "int8"), {})
    adapter.prepare(1)
    run = adapter.load(str(path), 1, SIGNATURE.forward.model_dump(mode="json"))
    for image in images:
        (output,) = run({"image": image.numpy()}).values()
        assert torch.equal(torch.from_numpy(output), IntegerReference(state.converted)(image))
