"""Finds the tensors of a float graph whose channels can be scaled together without a change of what the graph computes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import ACTIVATIONS, CONVOLUTIONS, operators
from edgedistill.quantize.pooling import is_pooling

_ATEN = torch.ops.aten
_LAYERS = (*CONVOLUTIONS, _ATEN.linear.default)
_NORMS = (_ATEN.batch_norm.default, _ATEN.layer_norm.default)
# f(k x) = k f(x) for k > 0, channel by channel; the clamp of ReLU6 is not of this kind.
_ELEMENTWISE = (
    _ATEN.relu.default, _ATEN.relu_.default, _ATEN.leaky_relu.default, _ATEN.leaky_relu_.default, _ATEN.dropout.default,
    _ATEN.clone.default, _ATEN.contiguous.default,
)  # fmt: skip
_POOLS = (_ATEN.max_pool2d.default, _ATEN.avg_pool2d.default, _ATEN.adaptive_avg_pool2d.default)
_SUMS = (_ATEN.add.Tensor, _ATEN.add_.Tensor)
_PRODUCTS = (_ATEN.mul.Tensor, _ATEN.mul_.Tensor)
_GATES = (_ATEN.sigmoid.default, _ATEN.sigmoid_.default, _ATEN.hardsigmoid.default, _ATEN.hardsigmoid_.default)


@dataclass
class Span:
    """Tensors whose channels have to be scaled by the same factors.

    values: the nodes that compute them, each with its axis of channels. writers: layers and norms whose weight and bias take the factors.
    readers: layers whose weights take the inverse factors.
    """

    values: dict[Node, int] = field(default_factory=dict)
    writers: list[Node] = field(default_factory=list)
    readers: list[Node] = field(default_factory=list)

    @property
    def rounded(self) -> list[Node]:
        """The values that a quantizer rounds: all but those that go into an activation alone, which is fused with the layer before it."""
        return [node for node in self.values if not all(user.target in ACTIVATIONS for user in node.users)]


def spans(graph: GraphModule) -> list[Span]:
    """All spans of `graph`, in the order of their first writers. A tensor belongs to one at most."""
    found: list[Span] = []
    seen: set[Node] = set()
    for node in operators(graph, (*_LAYERS, *_NORMS)):
        if node in seen or (axis := _written(node)) is None:
            continue
        span = Span()
        whole = _collect(node, axis, span)
        seen |= set(span.values)
        if whole and span.readers:
            found.append(span)
    return found


def _collect(start: Node, axis: int, span: Span) -> bool:
    """Gather the span of `start`; False where a tensor of it is read or made by something that does not keep factors apart."""
    waiting, whole, gates = [(start, axis)], True, set()
    while waiting:
        node, axis = waiting.pop()
        if node in span.values:
            whole &= span.values[node] == axis
            continue
        span.values[node] = axis
        if _written(node) == axis:
            span.writers.append(node)
        elif (sources := _passed(node, axis)) is not None:
            waiting += sources
        else:
            whole = False
        for user in node.users:
            if _reads(user, node, axis):
                span.readers.append(user)
            elif (after := _axis_after(user, node, axis)) is not None:
                waiting.append((user, after))
            else:
                whole = False
        gates |= {gate for gate in node.all_input_nodes if node.target in _PRODUCTS and gate.target in _GATES}
    return whole and not gates & set(span.values)


def _written(node: Node) -> int | None:
    """The axis of the channels that the weight and bias of `node` can scale; None where it has none."""
    if node.target in _NORMS:
        constant = _constant(node, 1 if node.target == _ATEN.batch_norm.default else 2)
        shape = node.args[1]
        if constant is None or (node.target == _ATEN.layer_norm.default and len(shape) != 1):  # type: ignore[arg-type]
            return None
        return 1 if node.target == _ATEN.batch_norm.default else _last(node)
    if node.target not in _LAYERS or (weight := _constant(node, 1)) is None or is_pooling(weight):
        return None
    return _last(node) if node.target == _ATEN.linear.default else 1


def _passed(node: Node, axis: int) -> list[tuple[Node, int]] | None:
    """The inputs of `node` that its channels come from; None where their factors would mix or get lost."""
    if node.op != "call_function":
        return None
    sources = [source for source in node.all_input_nodes if source.op != "get_attr"]
    if node.target in _PRODUCTS:
        sources = [source for source in sources if source.target not in _GATES]
    expected = 2 if node.target in _SUMS else 1
    if len(sources) != expected or (node.target in _PRODUCTS and len(node.all_input_nodes) != 2):
        return None
    before = [(source, at) for source in sources for at in range(len(source.meta["val"].shape)) if _axis_after(node, source, at) == axis]
    return before if len(before) == expected else None


def _axis_after(user: Node, node: Node, axis: int) -> int | None:
    """The axis of the channels of `node` in the result of `user`; None where they are not kept apart or not scaled alike."""
    if user.op != "call_function" or user.target in (*_LAYERS, *_NORMS):
        pooling = user.target in CONVOLUTIONS and user.args[0] is node and axis == 1
        return 1 if pooling and (weight := _constant(user, 1)) is not None and is_pooling(weight) else None
    before, after = node.meta["val"].shape, user.meta["val"].shape
    if user.target == _ATEN.permute.default:
        return [int(dim) % len(after) for dim in user.args[1]].index(axis)  # type: ignore[union-attr, arg-type]
    if user.target == _ATEN.transpose.int:
        return _swapped(user, axis)
    if user.target == _ATEN.flatten.using_ints or user.target in (_ATEN.view.default, _ATEN.reshape.default):
        # What remains of [B, C, 1, 1].
        return axis if axis == 1 and len(after) == 2 and len(before) == 4 and before[1] == after[1] else None
    if user.target == _ATEN.mean.dim:
        dims = [int(dim) % len(before) for dim in user.args[1]]  # type: ignore[union-attr, arg-type]
        gone = 0 if len(after) == len(before) else sum(dim < axis for dim in dims)
        return axis - gone if axis not in dims else None
    if user.target in _SUMS:
        others = [other for other in user.all_input_nodes if other is not node]
        alike = len(user.args) == 2 and not user.kwargs and len(others) == 1 and others[0].op != "get_attr"
        return axis if alike and others[0].meta["val"].shape == before else None
    if user.target in _PRODUCTS:
        gates = [other for other in user.all_input_nodes if other is not node]
        return axis if len(gates) == 1 and gates[0].target in _GATES and len(after) == len(before) else None
    if user.target == _ATEN.constant_pad_nd.default:
        padded = len(user.args[1]) // 2  # type: ignore[arg-type]
        return axis if (*user.args, 0)[2] == 0 and axis < len(before) - padded else None
    if user.target in _POOLS:
        # They mix the last two axes.
        return axis if axis < len(before) - 2 else None
    return axis if user.target in _ELEMENTWISE else None


def _reads(user: Node, node: Node, axis: int) -> bool:
    """Whether `user` is a layer whose weight can take the inverse factors of `node`'s channels."""
    if user.target not in _LAYERS or user.args[0] is not node or (weight := _constant(user, 1)) is None or is_pooling(weight):
        return False
    return axis == (_last(node) if user.target == _ATEN.linear.default else 1)


def _constant(node: Node, position: int) -> Node | None:
    """The parameter that is the argument at `position`; None where it is computed or missing."""
    argument = node.args[position] if len(node.args) > position else None
    return argument if isinstance(argument, Node) and argument.op == "get_attr" else None


def _last(node: Node) -> int:
    return len(node.meta["val"].shape) - 1


def _swapped(node: Node, axis: int) -> int:
    dims = len(node.meta["val"].shape)
    first, second = (int(dim) % dims for dim in node.args[1:3])  # type: ignore[arg-type]
    return {first: second, second: first}.get(axis, axis)


def groups_of(layer: Node) -> int:
    """The groups of a convolution; 1 for a linear layer."""
    return int(layer.args[6]) if layer.target in CONVOLUTIONS and len(layer.args) > 6 else 1  # type: ignore[arg-type]
