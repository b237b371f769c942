"""Core ML: weights as integers with scales, or as a table and indices, in a float16 program; the system unpacks them."""

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch

from edgedistill.quantize.grid import BLOCK, ENTRIES, ROWS, in_blocks, int8_channels

WEIGHTED = ("conv", "linear")
_FLOAT16 = 2**-10
"""How far rounding values and scales to float16 moves a value off its grid at most, as a share of the largest of its row."""


def pack(ct: ModuleType, model: Any, precision: str) -> Any:
    """`model` (an MLModel whose weights lie on the grid of `precision`) with packed weights and embedding tables.

    The scales that coremltools finds are those of the grid, max |w| / 127 by channel or / 7 by block. Other constants stay float16.
    """
    import coremltools.optimize.coreml as optimize

    linear = partial(optimize.OpLinearQuantizerConfig, mode="linear_symmetric", weight_threshold=0)
    channels = linear(dtype="int8", granularity="per_channel")
    operations = model._mil_program.functions["main"].operations
    named = {op.x.op.name: channels for op in operations if op.op_type == "gather" and _is_table(op.x.val)}
    if precision == "palette4":
        # Its mode "unique" sorts float16, which numpy 2.4 leaves unsorted on some x86 processors: a table of 16 came out as one of 64.
        table = optimize.OpPalettizerConfig(mode="custom", lut_function=_table, weight_threshold=0)
        palettes = optimize.OptimizationConfig(op_type_configs=dict.fromkeys(WEIGHTED, table))
        model = optimize.palettize_weights(model, palettes)
        return optimize.linear_quantize_weights(model, optimize.OptimizationConfig(op_name_configs=named)) if named else model
    blocks = linear(dtype="int4", granularity="per_block", block_size=BLOCK)
    weights = [op.weight for op in operations if op.op_type in WEIGHTED]
    named |= {w.op.name: blocks for w in weights if precision == "int4-weights" and in_blocks(w.shape)}
    config = optimize.OptimizationConfig(op_type_configs=dict.fromkeys(WEIGHTED, channels), op_name_configs=named)
    return optimize.linear_quantize_weights(model, config)


def _is_table(values: np.ndarray | None) -> bool:
    """Whether a constant that is gathered from is an embedding table on the grid. What an index reads was not put there."""
    if values is None or values.ndim != 2 or len(values) <= ROWS:
        return False
    table = torch.from_numpy(values.astype(np.float32))
    return bool(((int8_channels(table).values - table).abs() <= _FLOAT16 * table.abs().amax(1, keepdim=True)).all())


def _table(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of `weight` with zeros up to 16, and the index of each, flat."""
    values, indices = np.unique(weight.astype(np.float32), return_inverse=True)
    if len(values) > ENTRIES:
        raise ValueError(f"found a weight {weight.shape} with {len(values)} values, expected at most {ENTRIES}: it is not on the palette")
    return np.pad(values, (0, ENTRIES - len(values))).astype(weight.dtype), indices.reshape(-1).astype(np.uint8)
