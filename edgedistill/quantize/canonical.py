"""What every program is rewritten to before it is quantized or lowered: forms that all runtimes have."""

from torch.fx import GraphModule

from edgedistill.quantize.activations import plain_activations
from edgedistill.quantize.adaptive import keep_means, pool_by_windows
from edgedistill.quantize.arithmetic import multiply_instead, write_out_factors
from edgedistill.quantize.attention import share_keys
from edgedistill.quantize.bilinear import write_out_bilinear
from edgedistill.quantize.branches import merge_branches
from edgedistill.quantize.broadcast import drop_expansions
from edgedistill.quantize.constants import fold_constants
from edgedistill.quantize.idle import drop_idle
from edgedistill.quantize.inline import inline_regions
from edgedistill.quantize.norms import settle_norms
from edgedistill.quantize.plain_moves import crop_by_slices, repeat_by_cat, rotate_by_flips, shape_by_numbers, shuffle_by_reshape
from edgedistill.quantize.selection import choose_in_rounds
from edgedistill.quantize.splits import select_parts, slice_parts, split_by_slices

_RULES = (
    inline_regions, drop_idle, multiply_instead, write_out_factors, split_by_slices, select_parts, shape_by_numbers, slice_parts,
    shuffle_by_reshape, crop_by_slices, rotate_by_flips, repeat_by_cat, choose_in_rounds, fold_constants, plain_activations,
    write_out_bilinear, merge_branches, settle_norms, share_keys, drop_expansions, keep_means, pool_by_windows,
)  # fmt: skip


def canonical(graph: GraphModule) -> int:
    """Rewrite `graph` in place, without a change of what it computes; returns how many rewrites there were."""
    return sum(rule(graph) for rule in _RULES)
