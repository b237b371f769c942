"""Pooling of every kind."""

import torch
from torch import nn
from torch.nn import functional as F

from construct_cases.network import function, network

CASES = {
    "max_pool2d(2)": function(lambda x: F.max_pool2d(x, 2)),
    "max_pool2d(3, 2, padding=1)": function(lambda x: F.max_pool2d(x, 3, 2, 1)),
    "max_pool2d(3, 2, ceil_mode)": function(lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)),
    "max_pool2d(3, 1, padding=1)": function(lambda x: F.max_pool2d(x, 3, 1, 1)),
    "max_pool2d(3, 2, dilation=2)": function(lambda x: F.max_pool2d(x, 3, 2, 1, dilation=2)),
    "max_pool2d((3, 2), (2, 1))": function(lambda x: F.max_pool2d(x, (3, 2), (2, 1))),
    "max_pool2d(5, 3), does not divide": function(lambda x: F.max_pool2d(x, 5, 3)),
    "max_pool1d(3, 2)": function(lambda x: F.max_pool1d(x.flatten(2), 3, 2).unflatten(2, (1, 127))),
    "max_pool3d(2)": function(lambda x: F.max_pool3d(x.unflatten(1, (4, 6)), 2).flatten(1, 2)),
    "adaptive_max_pool2d(1)": function(lambda x: F.adaptive_max_pool2d(x, 1)),
    "adaptive_max_pool2d(4)": function(lambda x: F.adaptive_max_pool2d(x, 4)),
    "adaptive_max_pool2d(5), does not divide": function(lambda x: F.adaptive_max_pool2d(x, 5)),
    "avg_pool2d(2)": function(lambda x: F.avg_pool2d(x, 2)),
    "avg_pool2d(3, 2, padding=1)": function(lambda x: F.avg_pool2d(x, 3, 2, 1)),
    "avg_pool2d(3, 2, padding=1, not counted)": function(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    "avg_pool2d(3, 2, ceil_mode)": function(lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True)),
    "avg_pool2d(3, 2, padding=1, ceil_mode, not counted)": function(
        lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)
    ),
    "avg_pool2d(3, 2, divisor_override=4)": function(lambda x: F.avg_pool2d(x, 3, 2, divisor_override=4)),
    "avg_pool2d((1, 5), 3)": function(lambda x: F.avg_pool2d(x, (1, 5), 3)),
    "avg_pool1d(3, 2, padding=1)": function(lambda x: F.avg_pool1d(x.flatten(2), 3, 2, 1).unflatten(2, (1, 128))),
    "avg_pool3d(2)": function(lambda x: F.avg_pool3d(x.unflatten(1, (4, 6)), 2).flatten(1, 2)),
    "adaptive_avg_pool2d(1)": function(lambda x: F.adaptive_avg_pool2d(x, 1)),
    "adaptive_avg_pool2d(4)": function(lambda x: F.adaptive_avg_pool2d(x, 4)),
    "adaptive_avg_pool2d(7), does not divide": function(lambda x: F.adaptive_avg_pool2d(x, 7)),
    "adaptive_avg_pool2d((None, 1))": function(lambda x: F.adaptive_avg_pool2d(x, (None, 1))),
    "lp_pool2d(2, 3, 2)": function(lambda x: F.lp_pool2d(x.relu() + 0.1, 2, 3, 2)),
    "mean over one axis": function(lambda x: x.mean(2, keepdim=True)),
    "mean((2, 3)) as a gate": network(
        lambda s, x: s.a(x) * torch.sigmoid(s.b(x.mean((2, 3)))[:, :, None, None]),
        a=lambda: nn.Conv2d(24, 24, 3, padding=1), b=lambda: nn.Linear(24, 24),
    ),
    "amax((2, 3))": function(lambda x: x.amax((2, 3), keepdim=True)),
    "amin over channels": function(lambda x: torch.cat([x, x.amin(1, keepdim=True)], 1)),
    "average and maximum together": function(
        lambda x: torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], 1)
    ),
    "pool of 3 x 3 minus its input (PoolFormer)": function(lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) - x),
    "max_unpool-free argmax gate": function(lambda x: x * (x == F.max_pool2d(x, 3, 1, 1)).float()),
}  # fmt: skip
