"""The network of the task `frames`, and the formula of its own loss."""

from pathlib import Path

import torch
from torch import Tensor, nn

from edgedistill.distill.formulas import Compared
from toykit.task import BANDS, STATES, LevelError


class Net(nn.Module):
    """A convolution over time; states by frame, and the level from its mean and the speaker."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hear = nn.Conv1d(BANDS, width, 3, padding=1)
        self.states = nn.Linear(width, STATES)
        self.level = nn.Linear(width + 4, 1)

    def forward(self, sound: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, 16, 3] and level [B, 1]."""
        heard = torch.relu(self.hear(sound))
        return self.states(heard.transpose(1, 2)), self.level(torch.cat([heard.mean(dim=[2]), speaker], dim=1))


def build(width: int, seed: int, weights: Path | None) -> nn.Module:
    """The network in evaluation mode, from the seed or from saved weights."""
    from safetensors.torch import load_file

    torch.manual_seed(seed)
    net = Net(width)
    if weights is not None:
        net.load_state_dict(load_file(weights))
    return net.eval()


def squared_error(loss: LevelError, it: Compared) -> Tensor:
    """The mean of the squares."""
    return (it.student["level"] - it.known()).square().mean()
