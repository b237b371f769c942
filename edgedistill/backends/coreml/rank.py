"""Tensors of six dimensions, which Core ML has not, as tensors of five."""

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.build import call, replace

_ATEN = torch.ops.aten
_OPS = torch.ops.quantized_decomposed
_RESHAPES = (_ATEN.view.default, _ATEN.reshape.default, _ATEN.unflatten.int, _ATEN.flatten.using_ints, _ATEN.contiguous.default)
_MOST = 5


def leave_out_batch(graph: GraphModule) -> int:
    """Leave the batch of one out of tensors of six dimensions between two reshapes, in place; returns how many nodes changed.

    Patches are cut so: [1, C, H, h, W, w] with its axes in another order. Where anything else reads such a tensor, all stay.
    """
    wide = [node for node in graph.graph.nodes if _rank(node) > _MOST]
    readers = {reader for node in wide for reader in node.users if _rank(reader) <= _MOST}
    if not wide or not all(map(_is_known, wide)) or not all(reader.target in _RESHAPES for reader in readers):
        return 0
    for node in [*wide, *readers]:
        if node.target in (_ATEN.permute.default, *_RESHAPES):
            source, shape = node.all_input_nodes[0], list(node.meta["val"].shape)
            with graph.graph.inserting_before(node):
                if node.target == _ATEN.permute.default:
                    made = call(graph, node, _ATEN.permute.default, source, [axis - 1 for axis in node.args[1][1:]])  # type: ignore[index, operator, union-attr]
                else:
                    made = call(graph, node, _ATEN.reshape.default, source, shape[1:] if node in wide else shape)
            replace(graph, node, made)
        else:
            node.meta["val"] = node.meta["val"][0]
    return len(wide) + len(readers)


def _rank(node: Node) -> int:
    value = node.meta.get("val")
    return value.ndim if isinstance(value, torch.Tensor) else 0


def _is_known(node: Node) -> bool:
    """Whether a node of six dimensions is made by a reshape, or moves or quantizes one, with a batch of one in front."""
    if node.meta["val"].shape[0] != 1 or _rank(node) != _MOST + 1:
        return False
    if node.target == _ATEN.permute.default:
        return bool(node.args[1][0] == 0)  # type: ignore[index]
    return node.target in (*_RESHAPES, _OPS.quantize_per_tensor.default, _OPS.dequantize_per_tensor.default)
