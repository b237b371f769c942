"""What is done to images before a model sees them: normalisation as a part of the model, and another size."""

import torch
from torch import nn


class Preprocessed(nn.Module):
    """A model that takes RGB in 0..1 and normalises inside the program.

    The normalisation is a frozen 1x1 depthwise convolution, x / std - mean / std: unlike subtract and divide it is
    an operator that every int8 runtime fuses, so the input stays int8 from the first pixel on.

    Input: float32 [N, 3, H, W] in 0..1. Output: whatever `model` gives, here float32 logits [N, classes].
    """

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        channels = len(mean)
        self.normalize: nn.Module = nn.Identity()
        # A model that takes 0..1 as it is needs no operator.
        if any(mean) or set(std) != {1.0}:
            self.normalize = nn.Conv2d(channels, channels, 1, groups=channels)
            deviation = torch.tensor(std)
            self.normalize.load_state_dict({"weight": 1 / deviation.reshape(-1, 1, 1, 1), "bias": -torch.tensor(mean) / deviation})
            self.normalize.requires_grad_(False)
        self.model = model

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        return self.model(self.normalize(image))


def resized(images: torch.Tensor, size: int) -> torch.Tensor:
    """Images [B, 3, S, S] at another side, as they are where it is theirs."""
    return images if images.shape[-1] == size else nn.functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
