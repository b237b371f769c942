"""What makes lowering to XNNPACK take half the time, with the same file (executorch 1.5.1, torch 2.14)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.fx import Node

_SIGNAL_RANK = 3
_INPUTS_OF_CAT = 4
Needs = Callable[[Node], bool]


def _named(*names: str) -> Needs:
    return lambda node: any(name in str(node.target) for name in names)


def _is_long_cat(node: Node) -> bool:
    return "aten.cat" in str(node.target) and len(node.args[0]) > _INPUTS_OF_CAT  # type: ignore[arg-type]


def _is_conv1d(node: Node) -> bool:
    return "convolution" in str(node.target) and node.meta["val"].ndim == _SIGNAL_RANK


_NEEDS: dict[str, Needs] = {
    "ConvertToUpsampleBilinear2d": _named("index"),
    "ConvertToSDPAPass": _named("softmax"),
    "ConvertToLinearPass": _named("mm"),
    "FuseBatchNormPass": _named("batch_norm"),
    "DecomposeBatchNorm": _named("batch_norm"),
    "FuseActivationPass": _named("relu", "hardtanh", "clamp"),
    "DecomposeConcatenate": _is_long_cat,
    "RemoveGetItemPass": lambda node: node.target is operator.getitem,
    "Conv1dUnsqueezePass": _is_conv1d,
    "PReLUReshapePass": _named("prelu"),
}
"""Which nodes a pass of XNNPACK's delegate changes, or looks for; without one it would trace the whole graph again for nothing."""


@contextmanager
def faster() -> Iterator[None]:
    """Leave out the passes of XNNPACK that find nothing to do, and compute the shapes of quantize and dequantize once for equal arguments.

    A pass traces the graph anew, whether it changes anything, and two of them first trace six patterns. PyTorch remembers the shapes of its
    own operators only, though those of `quantized_decomposed`, half of an int8 graph, depend on their arguments as well.
    """
    import executorch.backends.xnnpack._passes as passes
    import torch._library.utils as library

    transform, is_builtin = passes._transform, library.is_builtin

    def needed(program: Any, each: Any) -> Any:
        needs = _NEEDS.get(type(each).__name__)
        nodes = program.graph_module.graph.nodes
        return transform(program, each) if needs is None or any(n.op == "call_function" and needs(n) for n in nodes) else program

    def remembered(called: Any) -> bool:
        return is_builtin(called) or called.namespace == "quantized_decomposed"

    passes._transform, library.is_builtin = needed, remembered  # type: ignore[assignment]
    try:
        yield
    finally:
        passes._transform, library.is_builtin = transform, is_builtin
