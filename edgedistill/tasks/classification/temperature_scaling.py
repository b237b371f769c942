"""Temperature scaling: one number that makes a model's confidence mean what it says, and changes no prediction."""

import numpy as np
import torch
from torch import nn

_BOUNDS = (0.1, 10.0)
_AT_ONCE = 1 << 22
"""Numbers whose logarithms are computed together: those of all tokens of a large vocabulary take much memory."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T that minimises the negative log-likelihood of softmax(logits / T).

    logits: [N, classes] and labels: int64 [N] of samples that trained nothing (val). Guo et al. 2017 (arXiv 1706.04599), section 4.2.
    It is 1 where every prediction is right: the likelihood then grows without end as T goes to 0, and tells nothing.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    if (logits.argmax(axis=1) == labels).all():
        return 1.0
    rows = max(1, _AT_ONCE // logits.shape[1])
    at_label = logits[np.arange(len(labels)), labels].astype(np.float64)

    def loss(log_t: float) -> float:
        t = np.exp(log_t)
        parts = (logits[start : start + rows].astype(np.float64) / t for start in range(0, len(logits), rows))
        return float((sum(logsumexp(part, axis=1).sum() for part in parts) - at_label.sum() / t) / len(labels))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_BOUNDS), method="bounded").x))


def divide_layer(layer: nn.Module | None, temperature: float) -> bool:
    """Divide weight and bias of the layer that gives the logits in place. Returns False, without a change, if it is of another kind."""
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        return False
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            parameter.div_(temperature)
    return True
