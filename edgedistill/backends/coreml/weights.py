"""Core ML: weights as integers with scales, or as a table and indices, in a float16 program; the system unpacks them."""

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from edgedistill.quantize.grid import BLOCK, ENTRIES, in_blocks

WEIGHTED = ("conv", "linear")


def pack(ct: ModuleType, model: Any, precision: str) -> Any:
    """`model` (an MLModel whose weights lie on the grid of `precision`) with packed weights of convolutions and linear layers.

    The scales that coremltools finds are those of the grid, max |w| / 127 by channel or / 7 by block. Other constants stay float16.
    """
    import coremltools.optimize.coreml as optimize

    if precision == "palette4":
        # Its mode "unique" sorts float16, which numpy 2.4 leaves unsorted on some x86 processors: a table of 16 came out as one of 64.
        table = optimize.OpPalettizerConfig(mode="custom", lut_function=_table, weight_threshold=0)
        return optimize.palettize_weights(model, optimize.OptimizationConfig(op_type_configs=dict.fromkeys(WEIGHTED, table)))
    linear = partial(optimize.OpLinearQuantizerConfig, mode="linear_symmetric", weight_threshold=0)
    channels = linear(dtype="int8", granularity="per_channel")
    blocks = linear(dtype="int4", granularity="per_block", block_size=BLOCK)
    weights = [op.weight for op in model._mil_program.functions["main"].operations if op.op_type in WEIGHTED]
    named = {w.op.name: blocks for w in weights if precision == "int4-weights" and in_blocks(w.shape)}
    config = optimize.OptimizationConfig(op_type_configs=dict.fromkeys(WEIGHTED, channels), op_name_configs=named)
    return optimize.linear_quantize_weights(model, config)


def _table(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of `weight` with zeros up to 16, and the index of each, flat."""
    values, indices = np.unique(weight.astype(np.float32), return_inverse=True)
    if len(values) > ENTRIES:
        raise ValueError(f"found a weight {weight.shape} with {len(values)} values, expected at most {ENTRIES}: it is not on the palette")
    return np.pad(values, (0, ENTRIES - len(values))).astype(weight.dtype), indices.reshape(-1).astype(np.uint8)
