"""A model whose outputs are divided by a temperature: its confidence changes, and none of its decisions."""

import torch
from torch import nn


class Tempered(nn.Module):
    """A model whose one output is divided by a temperature."""

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The output of the model, divided."""
        return self.model(*inputs) / self.temperature
