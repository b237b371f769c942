"""Temperature scaling: one number that makes a model's confidence mean what it says, and changes no prediction."""

import numpy as np
import torch
from torch import nn

_BOUNDS = (0.1, 10.0)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T that minimises the negative log-likelihood of softmax(logits / T).

    logits: [N, classes] and labels: int64 [N] of samples that trained nothing (val). Guo et al. 2017 (arXiv 1706.04599), section 4.2.
    It is 1 where every prediction is right: the likelihood then grows without end as T goes to 0, and tells nothing.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if (logits.argmax(axis=1) == labels).all():
        return 1.0
    logits = logits.astype(np.float64)

    def loss(log_t: float) -> float:
        return float(-log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_BOUNDS), method="bounded").x))


def divide_layer(layer: nn.Module | None, temperature: float) -> bool:
    """Divide weight and bias of the layer that gives the logits in place. Returns False, without a change, if it is of another kind."""
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        return False
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            parameter.div_(temperature)
    return True
