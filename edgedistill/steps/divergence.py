"""Finds where an int8 artifact that fails verification leaves its reference, by lowering and running shorter programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed
from edgedistill.measure.adapters import executor_of
from edgedistill.measure.inputs import cut, taken
from edgedistill.progress import log
from edgedistill.records import Comparison, Divergence, Unavailable
from edgedistill.run import Run, Step
from edgedistill.steps.declared import program_files
from edgedistill.verify import stored
from edgedistill.verify.judge import NOT_EXECUTED
from edgedistill.verify.scoring import Scorer

if TYPE_CHECKING:
    import numpy as np
    from torch.fx import GraphModule

    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec
    from edgedistill.signature import Signature

_SAMPLES = 16
_TIMEOUT_S = 300.0
_NOTE = "found by bisection over lowered prefixes, in which the runtime may fuse operators otherwise than in the whole file"


def locate(run: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> None:
    """Name the first diverging layer of every int8 artifact that ran and failed verification, in a step `divergence-NAME`."""
    scorer = Scorer(run, recipe)
    for spec in specs:
        if spec.precision != "int8":
            continue
        judgement = scorer.judged(spec)
        if judgement.ok is False and judgement.executed_by != NOT_EXECUTED:
            log(f"{spec.name} differs from its reference: looking for the first layer that does")
            facts = backend(spec.format)
            step = Step(
                f"divergence-{spec.name}",
                reads=(spec.path, stored.SAMPLES["val"], *program_files("programs/student-reference.pt2")),
                code=("edgedistill.verify.divergence", facts.lower),
                packages=facts.packages,
            )
            run.step(step, partial(_located, run, spec))


def _located(run: Run, spec: ArtifactSpec, folder: Path) -> Divergence:
    """layer, operator, lsb, the comparison there, how many cuts there were, and a note; or why no layer was found."""
    import numpy as np

    from edgedistill.export.programs import load_signature
    from edgedistill.files import write_arrays
    from edgedistill.tasks.data import spread
    from edgedistill.verify import divergence
    from edgedistill.verify.rungs import load_converted

    programs = run.work("programs")
    program, whole = load_converted(run.work(spec.program)), load_converted(programs / "student-reference.pt2")
    val, (sizes, places) = stored.samples(run, "val"), stored.parts(run, spec, "val")[-1]
    places = np.arange(len(next(iter(val.values())))) if places is None else places
    chosen = places[spread(len(places), _SAMPLES)]
    method = load_signature(run.work(spec.program)).forward.with_sizes(sizes)
    samples = {name: cut(values[chosen], method.input(name)) for name, values in val.items()}
    write_arrays(folder / "samples", samples)
    cuts = divergence.cuts(whole)
    comparisons: dict[int, Comparison | Unavailable] = {}

    def differs(position: int) -> bool:
        try:
            outputs = _executed(run, spec, divergence.prefix(program, position), folder / "samples", folder / f"cut-{position}")
        except DeviceFailed as error:
            # A prefix that its runtime can't take is skipped as if it agreed: what is named later still differs.
            comparisons[position] = Unavailable(unavailable=str(error))
            return False
        compared = _compared(run, spec, divergence.prefix(whole, position), outputs, samples, cuts[position].lsb)
        comparisons[position] = compared
        return not compared.close

    position = divergence.first(len(cuts), differs)
    facts = {"cuts": len(cuts), "lowered": len(comparisons), "samples": _SAMPLES}
    if position is None:
        agrees = f"the last layer agrees on {_SAMPLES} samples: what differs is seen on more of them only"
        last = comparisons.get(len(cuts) - 1)
        return Divergence(**facts, layer=None, reason=last.unavailable if isinstance(last, Unavailable) else agrees)
    computed = divergence.computed(whole, position)
    return Divergence(**facts, **asdict(cuts[position]), computed=computed, parity=comparisons[position], note=_NOTE)


def _executed(run: Run, spec: ArtifactSpec, program: GraphModule, samples: Path, folder: Path) -> np.ndarray:
    """What the runtime of `spec` answers for a prefix, float32 [N, features]."""
    import numpy as np

    from edgedistill.export.fitting import of_file
    from edgedistill.export.lower import lower_one
    from edgedistill.export.programs import save_program
    from edgedistill.measure import local

    (folder / spec.program).parent.mkdir(parents=True, exist_ok=True)
    signature = _of_prefix(run, spec, program)
    save_program(program, signature, folder / spec.program)
    lower_one(spec, folder, folder, folder / "lower.log", {"model": "prefix"})
    method = of_file(signature, spec).forward
    with taken(samples, method, spec.input) as inputs:
        execution = local.execute(
            executor_of(spec).module, folder / spec.name, inputs, signature=method, outputs=folder / "outputs.npy", threads=1, bench=None,
            log=folder / "run.log", timeout_s=_TIMEOUT_S,
        )  # fmt: skip
    assert execution.outputs is not None
    return np.load(execution.outputs[method.outputs[0].name])


def _of_prefix(run: Run, spec: ArtifactSpec, prefix: GraphModule) -> Signature:
    """What a prefix of the program of `spec` takes, at the sizes of the samples, and its only output, which is flat."""
    from edgedistill.export.programs import load_signature
    from edgedistill.signature import Signature, TensorSpec
    from edgedistill.verify.divergence import features

    sizes, _ = stored.parts(run, spec, "val")[-1]
    inputs = load_signature(run.work(spec.program)).forward.with_sizes(sizes).inputs
    return Signature.of(inputs, [TensorSpec(name="features", shape=(1, features(prefix)))])


def _compared(
    run: Run, spec: ArtifactSpec, reference: GraphModule, outputs: np.ndarray, samples: Mapping[str, np.ndarray], lsb: float
) -> Comparison:
    from edgedistill.tasks.modules import batches_of, predict
    from edgedistill.verify import judge
    from edgedistill.verify.parity import quantized_parity
    from edgedistill.verify.rungs import references

    batch = _SAMPLES if run.made("programs")["batched"] else 1
    rung = references(reference)[judge.reference(spec)]
    (expected,) = predict(rung, batches_of(samples, batch), _of_prefix(run, spec, reference).forward).values()
    return quantized_parity(outputs, expected, lsb)
