"""3D convolutions as 2D ones over planes compute the same: in floating point, and in every integer of a quantized program."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgedistill.export.planes import by_planes
from edgedistill.export.programs import rewritten
from edgedistill.quantize.state import convert
from edgedistill.quantize.static import calibrate
from edgedistill.signature import Signature, TensorSpec
from edgedistill.verify.integer import IntegerReference

KINDS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (2, 3, 1), "stride": (2, 1, 3), "padding": (1, 0, 2), "dilation": (1, 2, 1), "groups": 2},
    {"kernel_size": (2, 4, 3), "padding": "same"},
    {"kernel_size": 2, "padding": "valid", "dilation": 2, "groups": 4, "bias": False},
]
CONVOLUTIONS = {torch.ops.aten.conv3d.default, torch.ops.aten.conv3d.padding}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_a_3d_convolution_is_a_2d_one_with_constant_weights(kind: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net, x = nn.Conv3d(4, 8, **kind).eval(), torch.randn(2, 4, 5, 9, 8)
    flat = rewritten(torch.export.export(net, (x,)), by_planes)
    assert torch.allclose(flat.module()(x), net(x), atol=1e-5)
    (layer,) = (node for node in flat.graph.nodes if node.target == torch.ops.aten.conv2d.default)
    assert not CONVOLUTIONS & {node.target for node in flat.graph.nodes}
    assert layer.args[1].op == "placeholder", "a delegate takes constant weights only"


class Volumes(nn.Module):
    """A convolution behind which a ReLU is fused, and one whose result is quantized directly."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv3d(2, 4, 3, (1, 2, 2), 1), nn.Conv3d(4, 6, (1, 3, 3), 1, 0, groups=2), nn.Linear(6, 3)

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.second(torch.relu(self.first(clip))).mean((2, 3, 4)))


def test_a_quantized_one_stays_quantized_with_the_same_integers() -> None:
    torch.manual_seed(0)
    clips = [(torch.randn(1, 2, 3, 8, 8),) for _ in range(4)]
    signature = Signature.of(
        [TensorSpec(name="clip", dtype="float32", shape=(1, 2, 3, 8, 8))], [TensorSpec(name="output", dtype="float32", shape=(1, 3))]
    )
    state = convert(calibrate(Volumes(), signature, clips, any_batch=False), signature)
    whole, by_form = IntegerReference(state.converted), {}
    for form in ("converted", "unfolded"):
        flat = rewritten(torch.export.export(getattr(state, form), clips[0]), by_planes)
        graph = flat.module()
        layers = [node for node in graph.graph.nodes if node.target == torch.ops.aten.conv2d.default]
        for layer in layers:
            assert all("dequantize" in str(source.target) for source in layer.args[:2])
            (behind,) = layer.users
            assert "quantize_per_tensor" in str((next(iter(behind.users)) if "relu" in str(behind.target) else behind).target)
        assert len(layers) == 2
        by_form[form] = graph
    for clip in clips:
        assert torch.equal(by_form["converted"](*clip), state.converted(*clip))
        assert torch.equal(by_form["unfolded"](*clip), state.unfolded(*clip))
        assert torch.equal(IntegerReference(by_form["converted"])(*clip), whole(*clip))
    assert "aten.conv3d.default" not in whole.floats, "kernels compute it in integers"
