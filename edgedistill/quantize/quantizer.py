"""Places fake quantization and observers: XNNPACK's quantizer, with ranges that waste no steps."""

import math
from dataclasses import replace
from typing import Any

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from torch import Tensor
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import HistogramObserver
from torchao.quantization.pt2e.fake_quantize import FusedMovingAvgObsFakeQuantize
from torchao.quantization.pt2e.quantizer import QuantizationSpec

from edgedistill.quantize.graph import operator_of
from edgedistill.quantize.learned import LearnedRange

_ATEN = torch.ops.aten
_SATURATED = {
    "hardswish": (-3.0, math.inf), "hardsigmoid": (-3.0, 3.0), "sigmoid": (-8.0, 8.0), "silu": (-8.0, math.inf),
    "gelu": (-4.0, math.inf), "mish": (-8.0, math.inf), "softplus": (-8.0, math.inf), "elu": (-8.0, math.inf), "tanh": (-5.0, 5.0),
}  # fmt: skip
"""Outside of these inputs an activation changes by less than 0.003 for good."""
_DEFAULT_ARGUMENTS = {"elu": 3, "softplus": 1}
"""How many arguments they may have: with more of them the input is scaled first."""
_MEANS = (_ATEN.adaptive_avg_pool2d.default, _ATEN.mean.dim)
_PRODUCTS = (
    _ATEN.matmul.default, _ATEN.bmm.default, _ATEN.einsum.default, _ATEN.linear.default, _ATEN.conv2d.default, _ATEN.embedding.default
)  # fmt: skip
_EPS = 2**-12


class Quantizer(XNNPACKQuantizer):
    """int8 per-channel symmetric weights, int8 per-tensor asymmetric activations.

    Five things differ from the class that it extends. A tensor that only saturating activations read, such as Hardswish, spends no steps
    on values that they do not tell apart. A global average has a range of its own: it is often far narrower than that of its input.
    What depends on the batch size alone, such as a positional encoding, is not rounded: it is a constant of each program. Nor are whole
    numbers, such as places of maxima that are joined. Nor is the sum of attention's scores and a mask: beside a mask of -30000 the scores
    would have no step of their own, and softmax reads it in floating point.
    """

    def __init__(self, *, is_qat: bool, learned: bool) -> None:
        super().__init__()
        self.kind = "histogram" if not is_qat else "learned" if learned else "moving"
        config = get_symmetric_quantization_config(is_per_channel=True, is_qat=is_qat)
        parts = {name: self._spec(getattr(config, name)) for name in ("input_activation", "output_activation")}
        self.set_global(replace(config, **parts))

    def annotate(self, model: GraphModule) -> GraphModule:
        """Mark in `model` what is quantized, and how."""
        annotated = super().annotate(model)
        assert self.global_config is not None
        shown = _shown(annotated)
        for node in annotated.graph.nodes:
            if node not in shown or not _is_real(node) or _masks(node):
                node.meta.pop("quantization_annotation", None)
            annotation = node.meta.get("quantization_annotation")
            if annotation is None or annotation.output_qspec is None:
                continue
            if node.target in _MEANS and _averages(node):
                annotation.output_qspec = self.global_config.output_activation
            elif isinstance(annotation.output_qspec, QuantizationSpec) and (bounds := _bounds(node)) is not None:
                annotation.output_qspec = self._spec(annotation.output_qspec, bounds)
        return annotated

    def _spec(self, spec: QuantizationSpec, bounds: tuple[float, float] | None = None) -> QuantizationSpec:
        plain, bounded = _OBSERVERS[self.kind]
        made = plain.with_args(eps=_EPS) if bounds is None else bounded.with_args(eps=_EPS, bounds=bounds)
        return replace(spec, observer_or_fake_quant_ctr=made)


def _shown(graph: GraphModule) -> set[Node]:
    """The nodes whose values depend on those of an input."""
    shown: set[Node] = set()
    for node in graph.graph.nodes:
        if node.op == "placeholder" or (node.target != _ATEN.sym_size.int and shown.intersection(node.all_input_nodes)):
            shown.add(node)
    return shown


def _is_real(node: Node) -> bool:
    value = node.meta.get("val")
    return not isinstance(value, Tensor) or value.is_floating_point()


def _masks(node: Node) -> bool:
    """Whether a node adds to the scores that softmax reads what is made of an input alone, without weights."""
    if node.target != _ATEN.add.Tensor or not node.users or any(user.target != _ATEN.softmax.int for user in node.users):
        return False
    return any(_is_of_input(source) for source in node.all_input_nodes)


def _is_of_input(node: Node) -> bool:
    """Whether a value is made of inputs and numbers: neither parameters nor products of activations."""
    if node.op == "get_attr":
        return isinstance(value := node.meta.get("val"), Tensor) and value.numel() == 1
    if node.op != "call_function" or node.target in _PRODUCTS:
        return node.op == "placeholder"
    return bool(node.all_input_nodes) and all(_is_of_input(source) for source in node.all_input_nodes)


def _averages(mean: Node) -> bool:
    """Whether a mean is over more than one value: of one, LiteRT's converter drops the mean together with a change of scale."""
    before, after = (node.meta["val"].shape[1:] for node in (mean.all_input_nodes[0], mean))
    return math.prod(before) != math.prod(after)


def _bounds(node: Node) -> tuple[float, float] | None:
    """The values of `node` that its readers tell apart; None where they may be any."""
    found = [_SATURATED.get(operator_of(user).rstrip("_")) for user in node.users if _usual(user)]
    if not found or len(found) < len(node.users) or None in found:
        return None
    lows, highs = zip(*found, strict=True)  # type: ignore[arg-type]
    return min(lows), max(highs)


def _usual(user: Node) -> bool:
    return len(user.args) <= _DEFAULT_ARGUMENTS.get(operator_of(user).rstrip("_"), len(user.args))


class _Bounded:
    """An observer, or fake quantization, that takes values beyond its bounds for these."""

    def __init__(self, *args: Any, bounds: tuple[float, float], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bounds = bounds

    def forward(self, values: Tensor) -> Tensor:
        """What the class behind this one makes of `values`."""
        return super().forward(values.clamp(*self.bounds))  # type: ignore[misc, no-any-return]


class _BoundedHistogram(_Bounded, HistogramObserver):
    pass


class _BoundedMoving(_Bounded, FusedMovingAvgObsFakeQuantize):
    pass


class _BoundedLearned(_Bounded, LearnedRange):
    pass


_OBSERVERS: dict[str, tuple[Any, Any]] = {
    "histogram": (HistogramObserver, _BoundedHistogram),
    "moving": (FusedMovingAvgObsFakeQuantize, _BoundedMoving),
    "learned": (LearnedRange, _BoundedLearned),
}
