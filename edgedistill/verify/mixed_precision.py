"""Which layers to leave in floating point: what the sensitivity scan finds, and a greedy choice by it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgedistill.progress import log
from edgedistill.quantize.mixed import leave_float
from edgedistill.quantize.state import QuantizedState
from edgedistill.records.steps import Distance, Gap, LayerCost, Sensitivity
from edgedistill.signature import Signature
from edgedistill.tasks.base import Arrays, Task
from edgedistill.tasks.data import spread
from edgedistill.tasks.modules import BATCH, batches_of, predict
from edgedistill.verify import judge
from edgedistill.verify.integer import IntegerReference
from edgedistill.verify.sensitivity import Samples, scan

SAMPLE = 256
MIN_SHARE = 0.1
MAX_LAYERS = 3


@dataclass(frozen=True)
class Exam:
    """What the states of a student are examined with.

    samples: those of val, [N, ...] by the name of the input. student: the outputs [N, ...] of the student in floating point, by name.
    targets: what its outputs are scored against, empty without any. batched: whether programs take several samples at once.
    """

    task: Task
    signature: Signature
    samples: Arrays
    student: Arrays
    targets: Arrays
    batched: bool = True

    @cached_property
    def chosen(self) -> np.ndarray:
        """Numbers of the samples that are scanned: 256 at even distances."""
        return spread(len(next(iter(self.samples.values()))), SAMPLE)

    @cached_property
    def scanned(self) -> Samples:
        """The samples that are scanned."""
        few = {name: np.array(values[self.chosen]) for name, values in self.samples.items()}
        return Samples(self.signature, few, batched=self.batched)

    @property
    def expected(self) -> Arrays:
        """The student's outputs for the samples that are scanned."""
        return {name: values[self.chosen] for name, values in self.student.items()}

    def compare(self, outputs: Arrays) -> Distance:
        """How far outputs of the scanned samples are from the student's, and how many samples flip."""
        flips = judge.flips(self.expected, outputs, self.task.decide)
        return Distance(distance=self.task.distance(outputs, self.expected), flips=flips)

    def gap(self, outputs: Arrays) -> Gap | None:
        """The student's score on all samples less that of `outputs`, with its interval; None without targets."""
        if not self.targets:
            return None
        scores = [self.task.score(of, self.targets) for of in (self.student, outputs)]
        difference, low, high = self.task.paired(*scores)
        return Gap(difference=difference, interval=(low, high), n=len(scores[0]))

    def integers(self, state: QuantizedState) -> Arrays:
        """The outputs of the integer reference of `state` for all samples."""
        return predict(IntegerReference(state.converted), batches_of(self.samples, BATCH if self.batched else 1), self.signature.forward)


def examine(state: QuantizedState, exam: Exam, integer: Arrays, *, apply: bool) -> tuple[QuantizedState, Sensitivity]:
    """Scan the layers of `state`, choose among them, and with `apply` leave those in floating point; returns the state and the record.

    integer: the outputs of `state` for all samples, see `Exam.integers`.

    The layer that alone in floating point brings the outputs nearest to the student's, by the distance of the task, is chosen while that
    takes away at least a tenth of the distance and while the 95% interval of the gap to the student is above zero. With `apply` the scan is
    then made again, up to three layers; without, the first is a proposal. Sensitivity by the divergence of the outputs: Cai et al. 2020,
    "ZeroQ" (arXiv 2001.00281); more bits for sensitive layers: Dong et al. 2019, "HAWQ" (arXiv 1905.03696).
    """
    gap = exam.gap(integer)
    current, stopped = state, None
    chosen: list[LayerCost] = []
    count = {"n": len(exam.chosen), "of": len(next(iter(exam.samples.values())))}
    if not state.trained:
        return state, Sensitivity(**count, int8=None, layers=[], chosen=[], applied=False, result=None, stopped=None)
    first: tuple[Distance, list[LayerCost]] | None = None
    while stopped is None:
        outputs, alone, facts = scan(current.converted, current.trained, exam.scanned)
        base = exam.compare(outputs)
        total = sum(fact.macs for fact in facts) + sum(layer.macs for layer in chosen)
        rows = [
            LayerCost(**fact.model_dump(), **exam.compare(alone[fact.node]).model_dump(), macs_share=fact.macs / total) for fact in facts
        ]
        layers = sorted(rows, key=lambda row: row.distance)
        first = first or (base.model_copy(update={"gap": gap}), layers)
        best = layers[0]
        if gap is not None and gap.interval[0] <= 0:
            stopped = "gap"
        elif best.distance > (1 - MIN_SHARE) * base.distance:
            stopped = "share"
        else:
            chosen.append(best.model_copy(update={"distance_before": base.distance}))
            if not apply:
                break
            log(f"left in floating point: {best.layer} ({exam.task.words.distance} {base.distance:.3g} to {best.distance:.3g})")
            current = leave_float(state, [layer.node for layer in chosen])
            gap = exam.gap(exam.integers(current))
            stopped = "most" if len(chosen) == MAX_LAYERS else None if current.trained else "all"
    applied = apply and bool(chosen)
    result = Distance(distance=chosen[-1].distance, flips=chosen[-1].flips, gap=gap) if applied else None
    assert first is not None
    int8, layers = first
    return current, Sensitivity(**count, int8=int8, layers=layers, chosen=chosen, applied=applied, result=result, stopped=stopped)
