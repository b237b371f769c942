"""Convolutions of every kind, forward and transposed, and layers that share or compute their weights."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from construct_cases.network import conv, network


def _plain(**options: object) -> Callable[[], nn.Module]:
    return network(lambda s, x: torch.relu(s.c(x)), c=lambda: nn.Conv2d(24, 24, **options))  # type: ignore[arg-type]


def _transposed(**options: object) -> Callable[[], nn.Module]:
    return network(lambda s, x: torch.relu(s.d(x)), d=lambda: nn.ConvTranspose2d(24, 24, **options))  # type: ignore[arg-type]


class _Standardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class _Reparameterised(nn.Module):
    """Branches of training as in MobileOne (2206.04040) and RepVGG: 3 x 3, 1 x 1 and identity, each with batch norm, then a sum."""

    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        self.wide = nn.ModuleList(
            nn.Sequential(nn.Conv2d(24, 24, 3, padding=1, groups=groups, bias=False), nn.BatchNorm2d(24)) for _ in range(3)
        )
        self.narrow = nn.Sequential(nn.Conv2d(24, 24, 1, groups=groups, bias=False), nn.BatchNorm2d(24))
        self.identity = nn.BatchNorm2d(24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.identity(x) + self.narrow(x)
        for branch in self.wide:
            out = out + branch(x)
        return torch.relu(out)


CASES = {
    "conv2d 1 x 1": _plain(kernel_size=1),
    "conv2d 5 x 5, stride 2": _plain(kernel_size=5, stride=2, padding=2),
    "conv2d 3 x 3, stride 3": _plain(kernel_size=3, stride=3),
    "conv2d 1 x 1, stride 2": _plain(kernel_size=1, stride=2),
    "conv2d 2 x 2, stride 4": _plain(kernel_size=2, stride=4),
    "conv2d 1 x 7 then 7 x 1": network(
        lambda s, x: torch.relu(s.b(torch.relu(s.a(x)))),
        a=lambda: nn.Conv2d(24, 24, (1, 7), padding=(0, 3)), b=lambda: nn.Conv2d(24, 24, (7, 1), padding=(3, 0)),
    ),
    "conv2d, no bias": _plain(kernel_size=3, bias=False),
    "conv2d, padding same, even kernel": _plain(kernel_size=4, padding="same"),
    "conv2d, padding valid": _plain(kernel_size=3, padding="valid"),
    "conv2d, reflect padding": _plain(kernel_size=3, padding=1, padding_mode="reflect"),
    "conv2d, replicate padding": _plain(kernel_size=3, padding=1, padding_mode="replicate"),
    "conv2d, circular padding": _plain(kernel_size=3, padding=1, padding_mode="circular"),
    "conv2d, dilation 2": _plain(kernel_size=3, padding=2, dilation=2),
    "conv2d, dilation 3, stride 2": _plain(kernel_size=3, padding=3, dilation=3, stride=2),
    "conv2d, 4 groups": _plain(kernel_size=3, padding=1, groups=4),
    "conv2d, 12 groups of two": _plain(kernel_size=3, padding=1, groups=12),
    "conv2d, depthwise": _plain(kernel_size=3, padding=1, groups=24),
    "conv2d, depthwise 7 x 7, stride 2": _plain(kernel_size=7, padding=3, groups=24, stride=2),
    "conv2d, depthwise, dilation 2": _plain(kernel_size=3, padding=2, dilation=2, groups=24),
    "conv2d, depthwise, multiplier 2": network(
        lambda s, x: torch.relu(s.c(x)), c=lambda: nn.Conv2d(24, 48, 3, padding=1, groups=24)
    ),
    "conv2d, kernel larger than the image": _plain(kernel_size=17, padding=8),
    "conv2d to one channel": network(lambda s, x: x * torch.sigmoid(s.c(x)), c=lambda: nn.Conv2d(24, 1, 3, padding=1)),
    "conv1d": network(lambda s, x: torch.relu(s.c(x.flatten(2))).unflatten(2, (16, 16)), c=lambda: nn.Conv1d(24, 24, 3, padding=1)),
    "conv1d, depthwise, dilation 2": network(
        lambda s, x: torch.relu(s.c(x.flatten(2))).unflatten(2, (16, 16)),
        c=lambda: nn.Conv1d(24, 24, 3, padding=2, dilation=2, groups=24),
    ),
    "conv3d": network(
        lambda s, x: torch.relu(s.c(x.unflatten(1, (4, 6)))).flatten(1, 2), c=lambda: nn.Conv3d(4, 4, 3, padding=1)
    ),
    "conv_transpose2d 2 x 2, stride 2": _transposed(kernel_size=2, stride=2),
    "conv_transpose2d 3 x 3, output_padding 1": _transposed(kernel_size=3, stride=2, padding=1, output_padding=1),
    "conv_transpose2d 4 x 4, 4 groups": _transposed(kernel_size=4, stride=2, padding=1, groups=4),
    "conv_transpose2d, depthwise": _transposed(kernel_size=4, stride=2, padding=1, groups=24),
    "conv_transpose2d, dilation 2": _transposed(kernel_size=3, stride=1, padding=2, dilation=2),
    "conv_transpose2d, stride 1": _transposed(kernel_size=3, stride=1, padding=1),
    "conv_transpose2d, no bias": _transposed(kernel_size=2, stride=2, bias=False),
    "conv_transpose2d, uneven": _transposed(kernel_size=(1, 5), stride=(1, 2), padding=(0, 2), output_padding=(0, 1)),
    "conv_transpose2d, uneven the other way": _transposed(kernel_size=(5, 3), stride=(2, 1), padding=(2, 0), output_padding=(1, 0)),
    "conv_transpose2d, stride 3 of kernel 2": _transposed(kernel_size=2, stride=3),
    "conv_transpose1d": network(
        lambda s, x: torch.relu(s.c(x.mean(2)))[:, :, None], c=lambda: nn.ConvTranspose1d(24, 24, 4, 2, 1)
    ),
    "conv_transpose3d": network(
        lambda s, x: torch.relu(s.c(x.unflatten(1, (4, 6)))).flatten(1, 2), c=lambda: nn.ConvTranspose3d(4, 4, (1, 2, 2), (1, 2, 2))
    ),
    "a convolution used twice": network(lambda s, x: torch.relu(s.c(torch.relu(s.c(x)))), c=conv),
    "a linear layer used twice": network(
        lambda s, x: x + torch.relu(s.l(torch.relu(s.l(x.mean((2, 3))))))[:, :, None, None], l=lambda: nn.Linear(24, 24)
    ),
    "one weight in two layers": network(
        lambda s, x: torch.relu(F.conv2d(x, s.w, padding=1)) + torch.relu(F.conv2d(x, s.w, padding=2, dilation=2)),
        w=lambda: nn.Parameter(torch.randn(24, 24, 3, 3) * 0.07),
    ),
    "a weight used transposed (tied)": network(
        lambda s, x: x + F.linear(torch.relu(F.linear(x.mean((2, 3)), s.w)), s.w.T)[:, :, None, None],
        w=lambda: nn.Parameter(torch.randn(32, 24) * 0.2),
    ),
    "weight norm": network(lambda s, x: torch.relu(s.c(x)), c=lambda: weight_norm(conv())),
    "weight standardisation": network(lambda s, x: torch.relu(s.c(x) * 0.1), c=lambda: _Standardised(24, 24, 3, padding=1)),
    "a weight that is computed from the input": network(
        lambda s, x: torch.einsum("bihw,bio->bohw", x, s.k(x.mean((2, 3))).unflatten(1, (24, 24))), k=lambda: nn.Linear(24, 24 * 24)
    ),
    "linear on the last axis": network(lambda s, x: torch.relu(s.l(x)), l=lambda: nn.Linear(16, 20)),
    "bilinear": network(
        lambda s, x: x + s.b(x.mean((2, 3)), x.amax((2, 3)))[:, :, None, None], b=lambda: nn.Bilinear(24, 24, 24)
    ),
    "training branches (MobileOne, RepVGG)": network(lambda s, x: s.r(x), r=_Reparameterised),
    "training branches, depthwise": network(lambda s, x: s.r(x), r=lambda: _Reparameterised(24)),
    "deformable by hand (grid_sample)": network(
        lambda s, x: F.grid_sample(x, torch.tanh(s.o(x)).permute(0, 2, 3, 1), align_corners=False), o=lambda: nn.Conv2d(24, 2, 3, padding=1)
    ),
}  # fmt: skip
