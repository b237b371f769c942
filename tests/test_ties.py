"""Means get a scale of their own, and what has to share a scale with them goes along."""

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgedistill.quantize.state import convert
from edgedistill.quantize.static import calibrate
from edgedistill.signature import Signature, TensorSpec

SIGNATURE = Signature.of(
    [TensorSpec(name="image", dtype="float32", shape=(1, 3, 8, 8)), TensorSpec(name="facts", dtype="float32", shape=(1, 5))],
    [TensorSpec(name="output", dtype="float32", shape=(1, 4))],
)


class Joined(nn.Module):
    """The mean of an image beside something else: facts, or the largest values of the same image."""

    def __init__(self, beside: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.beside = beside
        self.conv, self.dense, self.head = nn.Conv2d(3, 6, 3, 2, 1), nn.Linear(5, 6), nn.Linear(12, 4)

    def forward(self, image: Tensor, facts: Tensor) -> Tensor:
        seen = torch.relu(self.conv(image))
        other = torch.relu(self.dense(facts)) if self.beside == "facts" else torch.max_pool2d(seen, 4).flatten(1)
        return self.head(torch.cat([seen.mean((2, 3)), other], 1))


def scales_around(graph: GraphModule, operator: object) -> tuple[set[float], set[float]]:
    """The scales of what `operator` reads and gives."""
    (node,) = (node for node in graph.graph.nodes if node.target == operator)
    given = {user.args[1] for user in node.users}
    assert all("quantize_per_tensor" in str(other.target) for other in (*node.all_input_nodes, *node.users))
    return {source.args[1] for source in node.all_input_nodes if isinstance(source, Node)}, given


@pytest.mark.parametrize(("beside", "separated"), [("facts", True), ("largest", False)])
def test_a_concatenation_has_one_scale_and_the_mean_its_own_where_it_can(beside: str, separated: bool) -> None:
    samples = [(torch.rand(1, 3, 8, 8), torch.rand(1, 5)) for _ in range(4)]
    graph = convert(calibrate(Joined(beside), SIGNATURE, samples, any_batch=False), SIGNATURE).converted
    read, given = scales_around(graph, torch.ops.aten.cat.default)
    assert len(read | given) == 1, "XNNPACK fails to load a concatenation of several scales"
    before, after = (scale for (scale,) in scales_around(graph, torch.ops.aten.mean.dim))
    assert (after != before) is separated
