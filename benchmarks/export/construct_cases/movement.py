"""What moves, selects, splits and joins values."""

from typing import Any

import torch
from torch import Tensor, nn

from construct_cases.network import conv, function, network


def _shuffle(x: Tensor, groups: int = 2) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def _assign(s: Any, x: Tensor) -> Tensor:
    x = s.c(x).clone()
    x[:, :8] = x[:, :8] * 0.5
    return x


CASES = {
    "cat of two convolutions": network(lambda s, x: torch.cat([torch.relu(s.a(x)), torch.relu(s.b(x))], 1), a=conv, b=lambda: conv(1)),
    "cat of ranges that differ 50 times": network(
        lambda s, x: torch.cat([torch.sigmoid(s.a(x)), 50 * s.b(x)], 1), a=lambda: conv(1, 12), b=lambda: conv(3, 12)
    ),
    "cat with its own input (DenseNet)": network(
        lambda s, x: torch.cat([x, torch.relu(s.b(torch.cat([x, torch.relu(s.a(x))], 1)))], 1), a=conv, b=lambda: nn.Conv2d(48, 24, 1)
    ),
    "cat of a tensor with itself": function(lambda x: torch.cat([x, x], 1)),
    "cat with a constant": network(
        lambda s, x: torch.cat([x, s.p.expand(x.shape[0], -1, -1, -1)], 1), p=lambda: torch.randn(1, 2, 16, 16)
    ),
    "cat over height": network(lambda s, x: torch.cat([s.a(x), s.b(x)], 2), a=conv, b=conv),
    "cat of six": network(
        lambda s, x: torch.cat([torch.relu(s.a(x) * f) for f in (1.0, 0.5, 2.0, 0.25, 3.0, 1.5)], 1), a=lambda: conv(1, 4)
    ),
    "stack and sum": network(lambda s, x: torch.stack([s.a(x), s.b(x), x], 0).sum(0), a=conv, b=conv),
    "chunk into two": network(
        lambda s, x: torch.cat([s.c(x.chunk(2, 1)[0]), x.chunk(2, 1)[1]], 1), c=lambda: nn.Conv2d(12, 12, 3, padding=1)
    ),
    "chunk, shuffle (ShuffleNet)": network(
        lambda s, x: _shuffle(torch.cat([x.chunk(2, 1)[0], torch.relu(s.c(x.chunk(2, 1)[1]))], 1)),
        c=lambda: nn.Conv2d(12, 12, 3, padding=1),
    ),
    "split of uneven sizes": network(
        lambda s, x: torch.cat([a * 2 if i else torch.relu(a) for i, a in enumerate(s.c(x).split([6, 8, 10], 1))], 1), c=conv
    ),
    "channel shuffle of 3 groups": network(lambda s, x: _shuffle(torch.relu(s.c(x)), 3), c=lambda: conv(groups=3)),
    "slice of channels": network(lambda s, x: torch.cat([s.c(x)[:, :7], x[:, 5:]], 1), c=conv),
    "slice with step 2 (Focus of YOLO)": function(
        lambda x: torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
    ),
    "crop of the centre": function(lambda x: x[:, :, 2:-2, 2:-2]),
    "narrow": function(lambda x: x.narrow(2, 3, 9)),
    "roll": function(lambda x: torch.roll(x, (3, -2), (2, 3))),
    "flip": function(lambda x: torch.flip(x, (3,))),
    "flip of channels (BGR)": function(lambda x: torch.flip(x, (1,))),
    "rot90": function(lambda x: torch.rot90(x, 1, (2, 3))),
    "transpose of height and width": function(lambda x: x.transpose(2, 3)),
    "permute, linear, permute": network(
        lambda s, x: torch.relu(s.l(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2), l=lambda: nn.Linear(24, 24)
    ),
    "flatten and linear": network(
        lambda s, x: x + s.l(torch.max_pool2d(x, 4).flatten(1))[:, :, None, None], l=lambda: nn.Linear(24 * 16, 24)
    ),
    "space to depth by view": function(
        lambda x: x.view(-1, 24, 8, 2, 8, 2).permute(0, 1, 3, 5, 2, 4).reshape(-1, 96, 8, 8)
    ),
    "unfold (im2col)": function(lambda x: nn.functional.unfold(x, 2, stride=2).unflatten(2, (8, 8))),
    "unbind": function(lambda x: sum(x.unflatten(1, (3, 8)).unbind(1))),
    "select": function(lambda x: x[:, :, 3].unsqueeze(2) + x),
    "squeeze and unsqueeze": function(lambda x: x.mean(3, keepdim=True).squeeze(3).unsqueeze(2)),
    "expand": function(lambda x: x + x.mean((2, 3), keepdim=True).expand(-1, -1, 16, 16)),
    "repeat": function(lambda x: x[:, :12].repeat(1, 2, 1, 1)),
    "index_select with a constant": network(lambda s, x: s.c(x).index_select(1, s.i), c=conv, i=lambda: torch.arange(23, -1, -1)),
    "advanced indexing with a constant": network(lambda s, x: s.c(x)[:, s.i], c=conv, i=lambda: torch.tensor([0, 2, 4, 1, 3, 5] * 4)),
    "gather along the maximum": function(lambda x: x.gather(1, x.argmax(1, keepdim=True)) + x),
    "sort of channels": function(lambda x: x.sort(1).values),
    "topk of channels": function(lambda x: x.topk(8, 1).values),
    "where of a comparison": function(lambda x: torch.where(x > 0.2, x, x * 0.1)),
    "masked_fill": function(lambda x: x.masked_fill(x < 0, 0.0)),
    "assignment to a slice": network(_assign, c=conv),
    "cumsum over width": function(lambda x: x.cumsum(3) * 0.1),
    "unbind of the inner axis": function(lambda x: sum(x.unflatten(1, (8, 3)).unbind(2))),
    "the 4 largest channels": function(lambda x: x.topk(4, 1)[0]),
    "the 2 smallest of a row": function(lambda x: x.topk(2, 3, largest=False)[0] + x[:, :, :, :1]),
}  # fmt: skip
