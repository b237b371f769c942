"""Arithmetic with numbers, constants and other activations."""

from typing import Any

import torch
from torch import Tensor, nn

from construct_cases.network import conv, function, network


def _autocast(s: Any, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        x = s.a(x.float())
    return s.b(torch.relu(x))


def _no_grad(s: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        mean = x.mean((2, 3), keepdim=True)
    return s.b(torch.relu(s.a(x) - mean))


CASES = {
    "x * 2.0": function(lambda x: x * 2.0),
    "x * 0.1": function(lambda x: x * 0.1),
    "x * -3.0": function(lambda x: x * -3.0),
    "x + 1.5": function(lambda x: x + 1.5),
    "x - 0.3": function(lambda x: x - 0.3),
    "1 - x": function(lambda x: 1 - x),
    "x / 3.0": function(lambda x: x / 3.0),
    "1 / (1 + relu(x))": function(lambda x: 1 / (1 + torch.relu(x))),
    "-x": function(lambda x: -x),
    "x + x": function(lambda x: x + x),
    "x * x": function(lambda x: x * x),
    "x ** 2": function(lambda x: x**2),
    "x ** 3": function(lambda x: x**3),
    "a + b": network(lambda s, x: torch.relu(s.a(x) + s.b(x)), a=conv, b=conv),
    "a + b of ranges that differ 50 times": network(lambda s, x: torch.tanh(s.a(x)) + 50 * s.b(x), a=conv, b=conv),
    "a - b": network(lambda s, x: s.a(x) - s.b(x), a=conv, b=conv),
    "a / (|b| + 1)": network(lambda s, x: s.a(x) / (s.b(x).abs() + 1), a=conv, b=conv),
    "maximum(a, b)": network(lambda s, x: torch.maximum(s.a(x), s.b(x)), a=conv, b=conv),
    "minimum(a, b)": network(lambda s, x: torch.minimum(s.a(x), s.b(x)), a=conv, b=conv),
    "a + 0.5 * b (alpha)": network(lambda s, x: torch.add(s.a(x), s.b(x), alpha=0.5), a=conv, b=conv),
    "three added": network(lambda s, x: s.a(x) + s.b(x) + x, a=conv, b=conv),
    "a residual, in place": network(lambda s, x: torch.relu_(s.a(x).add_(x)), a=conv),
    "in place: mul_, add_, clamp_": network(lambda s, x: s.a(x).mul_(1.5).add_(0.2).clamp_(-1, 4), a=conv),
    "+ a position embedding": network(lambda s, x: s.c(x + s.p), c=conv, p=lambda: nn.Parameter(torch.randn(1, 24, 16, 16) * 0.3)),
    "* a vector of channels": network(lambda s, x: s.c(x) * s.v, c=conv, v=lambda: torch.rand(1, 24, 1, 1) + 0.5),
    "+ [N, C, 1, 1]": network(lambda s, x: s.c(x) + x.mean((2, 3), keepdim=True), c=conv),
    "* [N, 1, H, W]": network(lambda s, x: s.c(x) * x.mean(1, keepdim=True), c=conv),
    "a parameter without dimensions": network(lambda s, x: s.c(x) * s.t, c=conv, t=lambda: nn.Parameter(torch.tensor(1.7))),
    "a constant read twice": network(lambda s, x: s.c(x * s.v) * s.v, c=conv, v=lambda: torch.rand(1, 24, 1, 1) + 0.5),
    "a constant made inside (arange)": function(lambda x: x + torch.arange(16, dtype=x.dtype) * 0.1),
    "a constant made inside (ones_like)": function(lambda x: x + torch.ones_like(x) * 0.5),
    "sum over channels": function(lambda x: x.sum(1, keepdim=True) * 0.1),
    "prod of two slices": function(lambda x: x[:, :12] * x[:, 12:]),
    "floor and round": function(lambda x: torch.floor(x * 4) * 0.25 + torch.round(x) * 0.1),
    "sign": function(lambda x: torch.sign(x) * 0.5 + x),
    "norm over channels": function(lambda x: torch.cat([x, x.norm(dim=1, keepdim=True)], 1)),
    "logsumexp over channels": function(lambda x: torch.cat([x, x.logsumexp(1, keepdim=True)], 1)),
    "cast to float16 and back": function(lambda x: x.half().float()),
    "cast to int and back": function(lambda x: (x * 4).int().float() * 0.25),
    "dropout and identity": network(lambda s, x: s.d(s.i(s.c(x))), c=conv, d=lambda: nn.Dropout(0.3), i=nn.Identity),
    "autocast inside, switched off": network(_autocast, a=conv, b=conv),
    "torch.no_grad inside": network(_no_grad, a=conv, b=conv),
}  # fmt: skip
