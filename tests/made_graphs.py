"""Small exported graphs, and the check that a rewrite changes none of what they compute."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

IMAGE = torch.rand(2, 8, 13, 12)


class Net(nn.Module):
    """A function of named layers and an image."""

    def __init__(self, compute: Callable[[nn.Module, Tensor], object], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.compute = compute
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> object:
        return self.compute(self, x)


def graph_of(module: nn.Module, x: Tensor = IMAGE) -> GraphModule:
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return torch.export.export(module.eval(), (x,)).module(check_guards=False)


def changed(module: nn.Module, rule: Callable[[GraphModule], int], expected: int, x: Tensor = IMAGE) -> GraphModule:
    """The graph after `rule`, which makes `expected` changes and none to what is computed."""
    graph = graph_of(module, x)
    with torch.no_grad():
        before = graph(x)
        assert rule(graph) == expected
        graph.graph.lint()
        after = graph(x)
    for old, new in zip(*(v if isinstance(v, (tuple, list)) else [v] for v in (before, after)), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-5)
    return graph


def names(graph: GraphModule) -> set[str]:
    return {str(node.target) for node in graph.graph.nodes if node.op == "call_function"}
