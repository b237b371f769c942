"""Fake quantization of activations whose range is trained together with the weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torchao.quantization.pt2e.fake_quantize import FusedMovingAvgObsFakeQuantize

_RATE = 10.0
"""AdamW moves every parameter by about its learning rate a step; a range may move by ten times that, relatively."""


class LearnedRange(FusedMovingAvgObsFakeQuantize):
    """Observes ranges at first, and learns a factor of the scale as soon as its observer is off.

    The gradient of the scale is that of LSQ (Esser et al. 2020, arXiv 1902.08153, equation 3): values inside the range pull it by their
    rounding errors, and values that are clipped by how far the border is. The factor is learned as its logarithm, so that the scale stays
    positive and moves relative to itself. The zero point stays.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.log_factor = nn.Parameter(torch.zeros(1))

    def forward(self, X: Tensor) -> Tensor:
        """`X` on its grid."""
        if int(self.observer_enabled):
            return super().forward(X)
        zero_point = self.zero_point.to(self.scale.dtype)
        return torch._fake_quantize_learnable_per_tensor_affine(X, self._learned(), zero_point, self.quant_min, self.quant_max)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, as they were learned."""
        scale, zero_point = super().calculate_qparams()
        return scale * torch.exp(_RATE * self.log_factor.detach()), zero_point

    def _learned(self) -> Tensor:
        return self.scale * torch.exp(_RATE * self.log_factor)
