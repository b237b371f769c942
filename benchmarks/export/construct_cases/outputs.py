"""What stands between the last layer and the output."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from construct_cases.network import Block, Network, conv


def _head(compute: Callable[[Any, torch.Tensor], Any]) -> Callable[[], nn.Module]:
    return lambda: Network(Block(lambda s, x: torch.relu(s.c(x)), c=conv()), compute)


CASES = {
    "logits": _head(lambda s, x: x),
    "softmax": _head(lambda s, x: torch.softmax(x, 1)),
    "log_softmax": _head(lambda s, x: torch.log_softmax(x, 1)),
    "sigmoid": _head(lambda s, x: torch.sigmoid(x)),
    "division by a temperature": _head(lambda s, x: x / 1.7),
    "multiplication by a temperature": _head(lambda s, x: x * 0.6),
    "relu": _head(lambda s, x: torch.relu(x)),
    "hardsigmoid": _head(lambda s, x: F.hardsigmoid(x)),
    "tanh": _head(lambda s, x: torch.tanh(x)),
    "normalised embedding": _head(lambda s, x: F.normalize(x, dim=1)),
    "argmax, integers": _head(lambda s, x: x.argmax(1)),
    "top 3 values and places": _head(lambda s, x: tuple(torch.topk(x, 3, 1))),
    "logits and their softmax": _head(lambda s, x: (x, torch.softmax(x, 1))),
    "logits twice": _head(lambda s, x: (x, x)),
    "cat of logits and their maximum": _head(lambda s, x: torch.cat([x, x.amax(1, keepdim=True)], 1)),
    "clamp": _head(lambda s, x: x.clamp(-4, 4)),
    "view(1, 10)": _head(lambda s, x: x.view(1, 10) if x.shape[0] == 1 else x),
    "a dictionary": _head(lambda s, x: {"logits": x, "largest": x.amax(1)}),
    "halved and doubled": _head(lambda s, x: x * 0.5 * 2.0),
    "logit of a sigmoid": _head(lambda s, x: torch.logit(torch.sigmoid(x), 1e-4)),
    "logits and their double": _head(lambda s, x: (x, x + x)),
    "places of the 2 smallest": _head(lambda s, x: x.topk(2, 1, largest=False)[1]),
    "logits and whether each is the largest": _head(lambda s, x: (x, (x == x.amax(1, keepdim=True)).float())),
}
