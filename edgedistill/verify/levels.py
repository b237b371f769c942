"""How much of its 256 levels each int8 activation of a quantized program really uses, and how much it clips."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedistill.quantize.graph import layer_of, operator_of
from edgedistill.verify.reference import Simulated, cast

WASTEFUL = 0.25
"""Share of the levels below which an activation is told: it then does with 6 bits what it could do with 8."""
CLIPPED = 0.001
"""Share of values outside of the range above which an activation is told."""
_TAIL = 0.001
"""What is left out at either end: a single value that is far out makes no range used."""


@dataclass(frozen=True)
class LevelUse:
    """What one quantize node does with the values that it is given."""

    name: str
    """The module that computes them, or the operator where the program does not name one."""
    operator: str
    low: float
    high: float
    """Ends of the range that int8 can hold, in real values."""
    used: float
    """Levels from the 0.1% to the 99.9% quantile of the values, as a share of all."""
    clipped: float
    """Share of the values that are past an end by more than half a level."""
    largest: float
    """The value of the largest magnitude."""
    sample: int | None
    """Index of the sample that gave it; None where values are not by sample."""

    @property
    def problem(self) -> str | None:
        """wasteful: less than a quarter of the levels are in use; clips: more than a thousandth of the values are cut off."""
        problems = [("wasteful", self.used < WASTEFUL), ("clips", self.clipped > CLIPPED)]
        return " and ".join(name for name, is_so in problems if is_so) or None


def int8_levels(converted: GraphModule, batches: Iterable[tuple[Tensor, ...]]) -> list[LevelUse]:
    """Each activation of a converted program, in the order of the program.

    batches: each holds the program's inputs in their order, whose first dimension are the samples of the batch.

    Computed in float64, where a value before it is quantized is what an integer kernel holds in its accumulator; those that are quantized
    are rounded, as there.
    """
    run = _Levels(converted)
    with torch.no_grad():
        for batch in batches:
            run.batch = len(batch[0])
            run.run(*cast(batch, torch.float64))
            run.first += run.batch
    return [_use(node, histogram) for node, histogram in run.histograms.items()]


@dataclass
class _Histogram:
    counts: Tensor
    """How many values fell on each level, and below and above all of them: [levels + 2]."""
    largest: float | None = None
    sample: int | None = None


class _Levels(Simulated):
    """Counts what every quantize node of activations is given, over several runs."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self.histograms: dict[Node, _Histogram] = {}
        self.first = 0
        self.batch = 0
        # A constant of the program, such as a class token, is the same for all samples, though it is repeated for each.
        self.of_samples: set[Node] = set()
        for node in graph.graph.nodes:
            computed = self.of_samples.intersection(node.all_input_nodes) and node.target != torch.ops.aten.sym_size.int
            if node.op == "placeholder" or computed:
                self.of_samples.add(node)

    def run_node(self, n: Node) -> Any:
        if n.target == torch.ops.quantized_decomposed.quantize_per_tensor.default:
            (x, scale, zero_point, low, high, *_), _ = self.fetch_args_kwargs_from_env(n)
            # Parity tells of values that are not finite; here they must not break the counting.
            x = torch.nan_to_num(x)
            histogram = self.histograms.setdefault(n, _Histogram(torch.zeros(high - low + 3, dtype=torch.int64)))
            steps = (torch.round(x / scale) + (zero_point - low + 1)).clamp(0, high - low + 2)
            histogram.counts += torch.bincount(steps.flatten().long(), minlength=high - low + 3)
            self._note(histogram, x, n in self.of_samples and len(x) % self.batch == 0)
        return super().run_node(n)

    def _note(self, histogram: _Histogram, x: Tensor, by_sample: bool) -> None:
        rows = x.reshape(self.batch, -1) if by_sample else x.reshape(1, -1)
        magnitudes = rows.abs().amax(1)
        row = int(magnitudes.argmax())
        if histogram.largest is None or float(magnitudes[row]) > abs(histogram.largest):
            histogram.largest = float(rows[row][rows[row].abs().argmax()])
            histogram.sample = self.first + row if by_sample else None


def _use(node: Node, histogram: _Histogram) -> LevelUse:
    scale, zero_point, low, high = (float(value) for value in node.args[1:5])  # type: ignore[arg-type]
    share = histogram.counts.double() / histogram.counts.sum()
    below = share.cumsum(0)
    first, last = (int((below <= edge).sum()) for edge in (_TAIL, 1 - _TAIL))
    levels = len(share) - 2
    # Places 0 and levels + 1 hold what is outside of the range.
    used = min(last, levels) - max(first, 1) + 1
    name, operator = _source(node)
    return LevelUse(
        name=name,
        operator=operator,
        low=(low - zero_point) * scale,
        high=(high - zero_point) * scale,
        used=max(used, 1) / levels,
        clipped=float(share[0] + share[-1]),
        largest=histogram.largest or 0.0,
        sample=histogram.sample,
    )


def _source(node: Node) -> tuple[str, str]:
    """The module and the operator that compute what `node` quantizes."""
    (value,) = node.all_input_nodes[:1]
    return layer_of(value), operator_of(value)
