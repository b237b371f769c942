"""Every activation of torch.nn, and the ones that people write by hand."""

import torch
from torch import nn
from torch.nn import functional as F

from construct_cases.network import conv, function, module, network

CASES = {
    "ReLU": module(nn.ReLU),
    "ReLU6": module(nn.ReLU6),
    "LeakyReLU(0.1)": module(lambda: nn.LeakyReLU(0.1)),
    "PReLU, a slope for each channel": module(lambda: nn.PReLU(24)),
    "PReLU, one slope": module(nn.PReLU),
    "RReLU": module(nn.RReLU),
    "ELU": module(nn.ELU),
    "CELU(0.5)": module(lambda: nn.CELU(0.5)),
    "SELU": module(nn.SELU),
    "GELU": module(nn.GELU),
    "GELU(tanh)": module(lambda: nn.GELU("tanh")),
    "SiLU": module(nn.SiLU),
    "Mish": module(nn.Mish),
    "Hardswish": module(nn.Hardswish),
    "Hardsigmoid": module(nn.Hardsigmoid),
    "Hardtanh(-2, 3)": module(lambda: nn.Hardtanh(-2, 3)),
    "Sigmoid": module(nn.Sigmoid),
    "Tanh": module(nn.Tanh),
    "Softplus": module(nn.Softplus),
    "Softplus(beta=2)": module(lambda: nn.Softplus(2)),
    "Softsign": module(nn.Softsign),
    "LogSigmoid": module(nn.LogSigmoid),
    "Tanhshrink": module(nn.Tanhshrink),
    "Softshrink": module(nn.Softshrink),
    "Hardshrink": module(nn.Hardshrink),
    "Threshold(0.1, 0)": module(lambda: nn.Threshold(0.1, 0.0)),
    "GLU": network(lambda s, x: F.glu(s.c(x), 1), c=lambda: conv(out=48)),
    "SwiGLU": network(lambda s, x: F.silu(s.a(x)) * s.b(x), a=conv, b=conv),
    "Softmax over channels": module(lambda: nn.Softmax(1)),
    "Softmax over the last axis": module(lambda: nn.Softmax(-1)),
    "Softmin": module(lambda: nn.Softmin(1)),
    "LogSoftmax": module(lambda: nn.LogSoftmax(1)),
    "clamp(-1, 2)": function(lambda x: x.clamp(-1.0, 2.0)),
    "clamp(min=0.1)": function(lambda x: x.clamp(min=0.1)),
    "relu squared": function(lambda x: torch.relu(x) ** 2),
    "x * sigmoid(x) by hand": function(lambda x: x * torch.sigmoid(x)),
    "x * sigmoid(1.702 x), quick GELU": function(lambda x: x * torch.sigmoid(1.702 * x)),
    "x * relu6(x + 3) / 6, hard swish by hand": function(lambda x: x * F.relu6(x + 3) / 6),
    "relu6(x + 3) / 6 as a gate": network(lambda s, x: x * (F.relu6(s.a(x) + 3) / 6), a=conv),
    "abs": function(torch.abs),
    "exp(-x^2)": function(lambda x: torch.exp(-(x**2))),
    "sqrt(relu(x) + 1)": function(lambda x: torch.sqrt(torch.relu(x) + 1)),
    "rsqrt(x^2 + 1)": function(lambda x: torch.rsqrt(x * x + 1)),
    "log(1 + relu(x))": function(lambda x: torch.log1p(torch.relu(x))),
    "sin": function(torch.sin),
    "erf": function(torch.erf),
    "five in a row": network(
        lambda s, x: torch.tanh(s.e(F.mish(s.d(F.softplus(s.c(F.elu(s.b(F.leaky_relu(s.a(x), 0.1))))))))),
        a=conv, b=lambda: conv(groups=2), c=lambda: conv(groups=3), d=lambda: conv(groups=4), e=lambda: conv(groups=6),
    ),
    "relu, in place": network(lambda s, x: s.c(x).relu_(), c=conv),
    "hardswish behind depthwise and batch norm": network(
        lambda s, x: F.hardswish(s.n(s.c(x))), c=lambda: conv(groups=24, bias=False), n=lambda: nn.BatchNorm2d(24)
    ),
}  # fmt: skip
