"""The network around a construct: a stem, the construct on [N, 24, 16, 16], a tail that takes any number of channels, and a head."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, SIZE, CLASSES = 24, 16, 10


class Block(nn.Module):
    """A function of its own layers and a tensor."""

    def __init__(self, compute: Callable[[Any, Tensor], Any], **layers: nn.Module | Tensor | nn.Parameter) -> None:
        super().__init__()
        self._compute = compute
        for name, layer in layers.items():
            if isinstance(layer, nn.Module):
                self.add_module(name, layer)
            elif isinstance(layer, nn.Parameter):
                self.register_parameter(name, layer)
            else:
                self.register_buffer(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self._compute(self, x)


class Network(nn.Module):
    """A classifier of images [N, 3, 32, 32]; `head` computes the output from logits [N, 10]."""

    def __init__(self, block: nn.Module, head: Callable[[Any, Tensor], Any] | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, 2, 1), nn.BatchNorm2d(CHANNELS), nn.ReLU())
        self.block = block
        self.tail = nn.Sequential(nn.LazyConv2d(32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.head = nn.Linear(32, CLASSES)
        self._output = head
        # Layers without a size get it from the first batch.
        with torch.no_grad():
            self(torch.rand(2, 3, 2 * SIZE, 2 * SIZE))

    def forward(self, image: Tensor) -> Any:
        logits = self.head(F.adaptive_avg_pool2d(self.tail(self.block(self.stem(image))), 1).flatten(1))
        return logits if self._output is None else self._output(self, logits)


def network(compute: Callable[[Any, Tensor], Any], **layers: Any) -> Callable[[], nn.Module]:
    """A builder of the network around `compute`. A layer is given as a function that makes it, so that each network has its own."""
    return lambda: Network(Block(compute, **{name: make() for name, make in layers.items()}))


def module(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A builder of the network around the module that `make` makes, behind a convolution."""
    return network(lambda s, x: s.layer(s.before(x)), before=conv, layer=make)


def function(compute: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    """A builder of the network around a function of one tensor, behind a convolution and before another."""
    return network(lambda s, x: s.after(compute(s.before(x))), before=conv, after=lambda: nn.LazyConv2d(CHANNELS, 1))


def conv(size: int = 3, out: int = CHANNELS, **options: Any) -> nn.Module:
    """A convolution that keeps the size of an image."""
    return nn.Conv2d(CHANNELS, out, size, padding=options.pop("padding", size // 2), **options)
