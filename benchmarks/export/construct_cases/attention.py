"""Attention over space and channels, and gates."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from construct_cases.network import conv, network


def _tokens(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2).flatten(2).transpose(1, 2)


def _image(tokens: Tensor) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, (8, 8))


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(2, (3, 8)).transpose(1, 2)


def _by_hand(s: Any, x: Tensor) -> Tensor:
    q, k, v = (_heads(part) for part in s.qkv(s.n(_tokens(x))).chunk(3, 2))
    weights = torch.softmax(q @ k.transpose(-2, -1) * 8**-0.5, -1)
    return _image(_tokens(x) + s.out((weights @ v).transpose(1, 2).flatten(2)))


def _fused(s: Any, x: Tensor) -> Tensor:
    q, k, v = s.qkv(_tokens(x)).unflatten(2, (3, 3, 8)).permute(2, 0, 3, 1, 4).unbind(0)
    return _image(s.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))


def _masked(s: Any, x: Tensor) -> Tensor:
    q, k, v = (_heads(part) for part in s.qkv(_tokens(x)).chunk(3, 2))
    scores = (q @ k.transpose(-2, -1) * 8**-0.5).masked_fill(s.mask, -1e9)
    return _image(s.out((torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)))


def _linear(s: Any, x: Tensor) -> Tensor:
    q, k, v = (_heads(part) for part in s.qkv(_tokens(x)).chunk(3, 2))
    q, k = torch.relu(q), torch.relu(k)
    context = k.transpose(-2, -1) @ v
    return _image(s.out((q @ context / (q @ k.sum(2, keepdim=True).transpose(-2, -1) + 1.0)).transpose(1, 2).flatten(2)))


def _windows(s: Any, x: Tensor) -> Tensor:
    rolled = torch.roll(x, (-2, -2), (2, 3))
    windows = rolled.unflatten(3, (4, 4)).unflatten(2, (4, 4)).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, 24)
    attended = F.softmax(windows @ windows.transpose(1, 2) * 24**-0.5, -1) @ s.v(windows)
    back = attended.reshape(-1, 4, 4, 4, 4, 24).permute(0, 5, 1, 3, 2, 4).flatten(2, 3).flatten(3, 4)
    return torch.roll(back, (2, 2), (2, 3))


def _selected(s: Any, x: Tensor) -> Tensor:
    gate = torch.softmax(s.g(x.mean((2, 3))).unflatten(1, (2, 24)), 1)
    return (torch.stack([s.a(x), s.b(x)], 1) * gate[..., None, None]).sum(1)


_QKV = {"qkv": lambda: nn.Linear(24, 72), "out": lambda: nn.Linear(24, 24)}
CASES = {
    "nn.MultiheadAttention": network(
        lambda s, x: _image(s.a(_tokens(x), _tokens(x), _tokens(x), need_weights=False)[0]),
        a=lambda: nn.MultiheadAttention(24, 3, batch_first=True),
    ),
    "nn.TransformerEncoderLayer": network(
        lambda s, x: _image(s.a(_tokens(x))), a=lambda: nn.TransformerEncoderLayer(24, 3, 48, batch_first=True, dropout=0.0)
    ),
    "attention by hand, with LayerNorm": network(_by_hand, n=lambda: nn.LayerNorm(24), **_QKV),
    "scaled_dot_product_attention": network(_fused, **_QKV),
    "attention with a mask of a buffer": network(_masked, mask=lambda: torch.ones(64, 64, dtype=torch.bool).triu(1), **_QKV),
    "linear attention (relu kernel)": network(_linear, **_QKV),
    "window attention with roll (Swin)": network(_windows, v=lambda: nn.Linear(24, 24)),
    "squeeze-excite, sigmoid": network(
        lambda s, x: s.c(x) * torch.sigmoid(s.b(torch.relu(s.a(F.adaptive_avg_pool2d(s.c(x), 1))))),
        c=conv, a=lambda: nn.Conv2d(24, 8, 1), b=lambda: nn.Conv2d(8, 24, 1),
    ),
    "squeeze-excite, hardsigmoid": network(
        lambda s, x: x * F.hardsigmoid(s.b(torch.relu(s.a(x.mean((2, 3), keepdim=True))))),
        a=lambda: nn.Conv2d(24, 8, 1), b=lambda: nn.Conv2d(8, 24, 1),
    ),
    "ECA: conv1d over channels": network(
        lambda s, x: x * torch.sigmoid(s.c(x.mean((2, 3))[:, None]))[:, 0, :, None, None], c=lambda: nn.Conv1d(1, 1, 3, padding=1)
    ),
    "CBAM: mean and maximum over channels": network(
        lambda s, x: x * torch.sigmoid(s.c(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1))),
        c=lambda: nn.Conv2d(2, 1, 7, padding=3),
    ),
    "einsum of two activations": network(
        lambda s, x: torch.einsum("bchw,bkhw->bck", s.a(x), s.b(x)).unsqueeze(1) * 0.02, a=lambda: conv(1), b=lambda: conv(1)
    ),
    "bmm of two activations": network(
        lambda s, x: torch.bmm(s.a(x).flatten(2), s.b(x).flatten(2).transpose(1, 2)).unsqueeze(1) * 0.02,
        a=lambda: conv(1), b=lambda: conv(1),
    ),
    "matmul with a constant": network(lambda s, x: x @ s.m, m=lambda: torch.randn(16, 16) * 0.3),
    "a product of two branches": network(lambda s, x: s.a(x) * s.b(x), a=conv, b=conv),
    "softmax gate of two branches (SKNet)": network(
        _selected,
        a=conv, b=lambda: conv(5), g=lambda: nn.Linear(24, 48),
    ),
}  # fmt: skip
