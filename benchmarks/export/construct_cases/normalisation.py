"""Normalisations, inside and outside of what fuses with a convolution."""

import torch
from torch import nn
from torch.nn import functional as F

from construct_cases.network import conv, function, module, network


class _LayerNorm2d(nn.LayerNorm):
    """Over the channels of NCHW, as in ConvNeXt (2201.03545)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


CASES = {
    "BatchNorm2d behind a convolution": module(lambda: nn.BatchNorm2d(24)),
    "BatchNorm2d with eps 1e-3": module(lambda: nn.BatchNorm2d(24, eps=1e-3)),
    "BatchNorm2d before a convolution": network(
        lambda s, x: s.c(torch.relu(s.n(torch.max_pool2d(x, 2)))), n=lambda: nn.BatchNorm2d(24), c=conv
    ),
    "BatchNorm2d without affine": module(lambda: nn.BatchNorm2d(24, affine=False)),
    "BatchNorm2d behind a transposed convolution": network(
        lambda s, x: torch.relu(s.n(s.d(x))), d=lambda: nn.ConvTranspose2d(24, 24, 2, 2), n=lambda: nn.BatchNorm2d(24)
    ),
    "BatchNorm1d behind a linear layer": network(
        lambda s, x: x + torch.relu(s.n(s.l(x.mean((2, 3)))))[:, :, None, None],
        l=lambda: nn.Linear(24, 24), n=lambda: nn.BatchNorm1d(24),
    ),
    "BatchNorm2d of a sum": network(lambda s, x: s.n(s.a(x) + x), a=conv, n=lambda: nn.BatchNorm2d(24)),
    "LayerNorm over C, H, W": module(lambda: nn.LayerNorm([24, 16, 16])),
    "LayerNorm over channels (ConvNeXt)": module(lambda: _LayerNorm2d(24)),
    "mean, permute, LayerNorm": network(
        lambda s, x: x + s.l(s.n(x.mean((2, 3), keepdim=True).permute(0, 2, 3, 1)))[:, 0, 0, :, None, None],
        n=lambda: nn.LayerNorm(24), l=lambda: nn.Linear(24, 24),
    ),
    "GroupNorm(4)": module(lambda: nn.GroupNorm(4, 24)),
    "GroupNorm(1)": module(lambda: nn.GroupNorm(1, 24)),
    "InstanceNorm2d": module(lambda: nn.InstanceNorm2d(24)),
    "InstanceNorm2d with affine": module(lambda: nn.InstanceNorm2d(24, affine=True)),
    "LocalResponseNorm": module(lambda: nn.LocalResponseNorm(5)),
    "RMSNorm": network(lambda s, x: s.n(s.c(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), c=conv, n=lambda: nn.RMSNorm(24)),
    "global response norm (ConvNeXt V2)": function(
        lambda x: x + x * (x.norm(dim=(2, 3), keepdim=True) / (x.norm(dim=(2, 3), keepdim=True).mean(1, keepdim=True) + 1e-6))
    ),
    "F.normalize over channels": function(lambda x: F.normalize(x, dim=1)),
    "standardised by mean and std": function(lambda x: (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-3)),
    "var over channels": function(lambda x: torch.cat([x, x.var(1, keepdim=True)], 1)),
    "layer scale": network(
        lambda s, x: x + s.g * s.c(x), c=conv, g=lambda: nn.Parameter(torch.rand(24, 1, 1))
    ),
}  # fmt: skip
