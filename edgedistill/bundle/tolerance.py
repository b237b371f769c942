"""How far the outputs of another machine may be from golden ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgedistill.recipe.precisions import is_dynamic
from edgedistill.records import ArtifactResult, Parity
from edgedistill.verify import judge, parity


def tolerance(artifact: ArtifactResult, outputs: Mapping[str, np.ndarray], scales: Mapping[str, float]) -> dict[str, float]:
    """The largest difference of each output, by the rule of verification.

    Outputs of int8 programs: 2 steps. Others: the share of the largest output that the precision may differ by; where activations are
    rounded as they come at least twice what was seen here, since another machine rounds other values the other way.

    outputs: golden ones [count, ...] by name. scales: the size of a step of each quantized output.
    """
    limit = judge.limit(artifact)
    if limit is not None and is_dynamic(artifact.precision) and isinstance(artifact.parity, Parity):
        limit = max(limit, 2 * (artifact.parity.relative or 0.0))
    allowed = {}
    for name, values in outputs.items():
        if limit is None and name in scales:
            allowed[name] = parity.LSB_LIMIT * scales[name]
        else:
            finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
            share = parity.UNQUANTIZED_LIMIT if limit is None else limit
            allowed[name] = share * float(np.abs(finite).max(initial=0)) if values.dtype.kind == "f" else 0.0
    return allowed
