"""Recurrent layers over the columns of an image."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from construct_cases.network import network


def _columns(x: Tensor) -> Tensor:
    return x.mean(2).transpose(1, 2)


def _layer(make: object) -> Callable[[], nn.Module]:
    return network(lambda s, x: x + s.p(s.r(_columns(x))[0]).transpose(1, 2)[:, :, None], r=make, p=lambda: nn.LazyLinear(24))


def _cell(s: Any, x: Tensor) -> Tensor:
    columns, state = _columns(x), (x.new_zeros(len(x), 24), x.new_zeros(len(x), 24))
    for step in range(4):
        state = s.r(columns[:, 4 * step], state)
    return x + state[0][:, :, None, None]


CASES = {
    "LSTM": _layer(lambda: nn.LSTM(24, 24, batch_first=True)),
    "LSTM, bidirectional": _layer(lambda: nn.LSTM(24, 16, batch_first=True, bidirectional=True)),
    "LSTM, two layers": _layer(lambda: nn.LSTM(24, 16, 2, batch_first=True)),
    "LSTM, projected": _layer(lambda: nn.LSTM(24, 24, batch_first=True, proj_size=12)),
    "GRU": _layer(lambda: nn.GRU(24, 24, batch_first=True)),
    "GRU, bidirectional": _layer(lambda: nn.GRU(24, 16, batch_first=True, bidirectional=True)),
    "RNN, tanh": _layer(lambda: nn.RNN(24, 24, batch_first=True)),
    "RNN, relu": _layer(lambda: nn.RNN(24, 24, batch_first=True, nonlinearity="relu")),
    "LSTM, the last state": network(
        lambda s, x: x + s.r(_columns(x))[1][0][0][:, :, None, None], r=lambda: nn.LSTM(24, 24, batch_first=True)
    ),
    "LSTMCell in a loop": network(_cell, r=lambda: nn.LSTMCell(24, 24)),
    "causal conv1d with a gate (WaveNet)": network(
        lambda s, x: (torch.tanh(s.f(x.mean(2))) * torch.sigmoid(s.g(x.mean(2))))[:, :, None],
        f=lambda: nn.Conv1d(24, 24, 2, dilation=2), g=lambda: nn.Conv1d(24, 24, 2, dilation=2),
    ),
    "LSTM, projected, bidirectional": _layer(lambda: nn.LSTM(24, 24, batch_first=True, proj_size=12, bidirectional=True)),
}  # fmt: skip
