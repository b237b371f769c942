"""Rewrites of a program for what coremltools converts wrongly or not at all (coremltools 9.0)."""

import functools
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.functional import elu, softplus

from edgedistill.backends.coreml.norms import bound_squares, normed
from edgedistill.backends.coreml.rank import leave_out_batch
from edgedistill.export.fences import keep_copies
from edgedistill.export.resizing import choose_nearest, interpolate_by_products, resize_by_products
from edgedistill.quantize.build import write_by
from edgedistill.quantize.graph import operators, tensor_of
from edgedistill.quantize.pooling import pool_for_core_ml


def write_out(graph: GraphModule) -> int:
    """Write as its formula what coremltools does not know, or converts with an integer beside floats, in place; returns how many."""
    import torch

    aten = torch.ops.aten
    formulas: dict[Any, Any] = {
        aten.celu.default: _celu, aten.celu_.default: _celu, aten.log_sigmoid.default: _log_sigmoid, aten.hardshrink.default: _hardshrink,
        aten.rms_norm.default: _rms_norm, aten.logit.default: _logit, aten.lstm_cell.default: _lstm_cell,
    }  # fmt: skip
    return write_by(graph, formulas)


def write_strides(graph: GraphModule) -> int:
    """Write the stride of each pooling that leaves it out, in place; returns how many. coremltools fails without it."""
    import torch

    aten = torch.ops.aten
    pools = (
        aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default, aten.avg_pool1d.default, aten.avg_pool2d.default,
        aten.avg_pool3d.default,
    )  # fmt: skip
    nodes = [node for node in operators(graph, pools) if not node.args[2:3] or not node.args[2]]
    for node in nodes:
        node.args = (*node.args[:2], node.args[1], *node.args[3:])
    return len(nodes)


def write_dilated_maxima(graph: GraphModule) -> int:
    """Write each 2D maximum over dilated windows, which coremltools refuses, as maxima of shifted images, in place; returns how many."""
    import torch

    pools = [(node, _dilation(node)) for node in operators(graph, (torch.ops.aten.max_pool2d.default,))]
    dilated = [node for node, dilation in pools if any(step != 1 for step in dilation)]
    for node in dilated:
        node.target = _dilated_maximum
    return len(dilated)


def _dilation(node: Node) -> list[int]:
    """The steps within the windows of a pooling; of one with `ceil_mode` none, since its last windows may hang over."""
    _, _, _, _, dilation, ceil = (*node.args, *[None, None, 1, False][len(node.args) - 2 :])[:6]
    return [] if ceil else _pair(dilation)


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value) * (2 // len(value))


def _dilated_maximum(x: Tensor, kernel: list[int], stride: list[int], padding: Any, dilation: Any) -> Tensor:
    import torch

    kernel, dilation, padding = _pair(kernel), _pair(dilation), _pair(padding)
    stride = _pair(stride) if stride else kernel
    x = torch.nn.functional.pad(x, [padding[1], padding[1], padding[0], padding[0]], value=float("-inf"))
    spans = [size - step * (width - 1) for size, step, width in zip(x.shape[2:], dilation, kernel, strict=True)]
    rows, columns = (
        [slice(step * place, step * place + span, jump) for place in range(width)]
        for step, span, width, jump in zip(dilation, spans, kernel, stride, strict=True)
    )
    shifted = [x[:, :, down, across] for down in rows for across in columns]
    return functools.reduce(torch.maximum, shifted)


def join_circular_pads(graph: GraphModule) -> int:
    """Write each circular padding, which coremltools does not know, as a concatenation, in place; returns how many."""
    import torch

    nodes = [node for node in operators(graph, (torch.ops.aten.pad.default,)) if "circular" in node.args]
    for node in nodes:
        node.target, node.args = _circular, node.args[:2]
    return len(nodes)


def _circular(x: Tensor, amounts: list[int]) -> Tensor:
    import torch

    for place, (before, behind) in enumerate(zip(amounts[::2], amounts[1::2], strict=True), 1):
        size = x.shape[-place]
        x = torch.cat([x.narrow(-place, size - before, before), x, x.narrow(-place, 0, behind)], -place)
    return x


def _log_sigmoid(x: Tensor) -> Tensor:
    return -softplus(-x)


def _hardshrink(x: Tensor, bound: float = 0.5) -> Tensor:
    return x * (x.abs() > bound).to(x.dtype)


def _logit(x: Tensor, eps: float | None = None) -> Tensor:
    import torch

    x = x if eps is None else x.clamp(eps, 1 - eps)
    return torch.log(x / (1 - x))


def _lstm_cell(
    x: Tensor, states: list[Tensor], of_input: Tensor, of_state: Tensor, bias: Tensor | None = None, more: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    import torch

    hidden, cell = states
    gates = torch.nn.functional.linear(x, of_input, bias) + torch.nn.functional.linear(hidden, of_state, more)
    taken, kept, new, given = gates.chunk(4, 1)
    cell = torch.sigmoid(kept) * cell + torch.sigmoid(taken) * torch.tanh(new)
    return torch.sigmoid(given) * torch.tanh(cell), cell


def _rms_norm(x: Tensor, shape: list[int], weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    import torch

    found = normed(x, list(range(-len(shape), 0)), torch.finfo(x.dtype).eps if eps is None else eps)
    return found if weight is None else found * weight


def _celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return alpha * elu(x / alpha)


def write_sizes(graph: GraphModule) -> int:
    """Write the shape of each view that has one size that varies with -1 for it, in place; returns how many changed.

    coremltools would compute the shape when the program runs, and the file would no longer tell the other sizes.
    """
    import torch

    aten = torch.ops.aten
    count = 0
    for node in operators(graph, (aten.view.default, aten.reshape.default)):
        shape = [-1 if isinstance(size, torch.SymInt) else size for size in node.meta["val"].shape]
        if shape.count(-1) == 1 and node.args[1] != shape:
            node.args = (node.args[0], shape)
            count += 1
    graph.graph.eliminate_dead_code()
    return count


def fold_scalars(graph: GraphModule) -> int:
    """Replace each dequantized scalar constant by the float32 number that it means, in place; returns how many.

    coremltools 9.0 subtracts the zero point from such a constant in int8, where 127 - (-128) is -1: a factor of 4.0 becomes -0.0157, and
    nothing says so. Constants with dimensions are right.
    """
    import torch

    ops = torch.ops.quantized_decomposed
    constants = [node for node in operators(graph, (ops.dequantize_per_tensor.default,)) if node.args[0].op == "get_attr"]  # type: ignore[union-attr]
    scalars = [node for node in constants if tensor_of(graph, node.args[0]).ndim == 0]
    for place, node in enumerate(scalars):
        name = f"scalar_{place}"
        value = ops.dequantize_per_tensor(tensor_of(graph, node.args[0]), *node.args[1:])
        graph.register_parameter(name, nn.Parameter(value, requires_grad=False))
        with graph.graph.inserting_before(node):
            node.replace_all_uses_with(graph.graph.get_attr(name))
        graph.graph.erase_node(node)
    return len(scalars)


FOR_CORE_ML = (
    keep_copies, fold_scalars, write_out, write_strides, write_dilated_maxima, join_circular_pads, resize_by_products,
    interpolate_by_products, choose_nearest, leave_out_batch, pool_for_core_ml, bound_squares, write_sizes,
)  # fmt: skip
"""What a program is rewritten by before coremltools converts it."""
