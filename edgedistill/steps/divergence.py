"""Finds where an int8 artifact that fails verification leaves its reference, by lowering and running shorter programs."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed
from edgedistill.measure.adapters import executor_of
from edgedistill.measure.inputs import taken
from edgedistill.progress import log
from edgedistill.records import Comparison, Divergence, Unavailable
from edgedistill.run import Run, Step
from edgedistill.steps.declared import VAL_SAMPLES, program_files
from edgedistill.verify.judge import NOT_EXECUTED

if TYPE_CHECKING:
    import numpy as np
    from torch.fx import GraphModule

    from edgedistill.records import ArtifactSpec

_IMAGES = 16
_TIMEOUT_S = 300.0
_NOTE = "found by bisection over lowered prefixes, in which the runtime may fuse operators otherwise than in the whole file"


def locate(run: Run, specs: list[ArtifactSpec]) -> None:
    """Name the first diverging layer of every int8 artifact that ran and failed verification, in a step `divergence-NAME`."""
    from edgedistill.report.artifacts import judged

    for spec in specs:
        if spec.precision != "int8":
            continue
        judgement = judged(run, run.artifact(spec.name))
        if judgement.ok is False and judgement.executed_by != NOT_EXECUTED:
            log(f"{spec.name} differs from its reference: looking for the first layer that does")
            one = backend(spec.format)
            step = Step(
                f"divergence-{spec.name}",
                reads=(spec.path, VAL_SAMPLES, *program_files("programs/student-reference.pt2")),
                code=("edgedistill.verify.divergence", one.lower),
                packages=one.packages,
            )
            run.step(step, partial(_located, run, spec))


def _located(run: Run, spec: ArtifactSpec, folder: Path) -> Divergence:
    """layer, operator, lsb, the comparison there, how many cuts there were, and a note; or why no layer was found."""
    import numpy as np

    from edgedistill.tasks.data import spread
    from edgedistill.verify import divergence
    from edgedistill.verify.rungs import load_converted

    programs = run.work("programs")
    program, whole = load_converted(run.work(spec.program)), load_converted(programs / "student-reference.pt2")
    images = folder / "images.npy"
    val = np.load(programs / "val.npy", mmap_mode="r")
    np.save(images, val[spread(len(val), _IMAGES)])
    cuts = divergence.cuts(whole)
    found: dict[int, Comparison | Unavailable] = {}

    def differs(position: int) -> bool:
        try:
            outputs = _executed(run, spec, divergence.prefix(program, position), images, folder / f"cut-{position}")
        except DeviceFailed as error:
            # A prefix that its runtime can't take is skipped as if it agreed: what is named later still differs.
            found[position] = Unavailable(unavailable=str(error))
            return False
        compared = _compared(spec, divergence.prefix(whole, position), outputs, np.load(images), cuts[position].lsb)
        found[position] = compared
        return not compared.close

    position = divergence.first(len(cuts), differs)
    facts = {"cuts": len(cuts), "lowered": len(found), "images": _IMAGES}
    if position is None:
        agrees = f"the last layer agrees on {_IMAGES} images: what differs is seen on more of them only"
        last = found.get(len(cuts) - 1)
        return Divergence(**facts, layer=None, reason=last.unavailable if isinstance(last, Unavailable) else agrees)
    return Divergence(**facts, **asdict(cuts[position]), parity=found[position], note=_NOTE)


def _executed(run: Run, spec: ArtifactSpec, program: GraphModule, images: Path, folder: Path) -> np.ndarray:
    """What the runtime of `spec` answers for a prefix, float32 [N, features]."""
    import numpy as np

    from edgedistill.export.fitting import of_file
    from edgedistill.export.lower import lower
    from edgedistill.export.programs import load_signature, save_program
    from edgedistill.measure import local

    (folder / spec.program).parent.mkdir(parents=True, exist_ok=True)
    save_program(program, load_signature(run.work(spec.program)), folder / spec.program)
    lower([spec], folder, folder, folder / "lower.log", {"model": "prefix"})
    method = of_file(load_signature(run.work(spec.program)), spec).forward
    # A prefix ends elsewhere, and its only output is made flat.
    (output,) = method.outputs
    method = method.model_copy(update={"outputs": (output.model_copy(update={"shape": (1, "features")}),)})
    with taken(images, spec.input) as inputs:
        done = local.execute(
            executor_of(spec).module, folder / spec.name, inputs, signature=method, outputs=folder / "outputs.npy", threads=1, bench=None,
            log=folder / "run.log", timeout_s=_TIMEOUT_S,
        )  # fmt: skip
    assert done.outputs is not None
    return np.load(done.outputs[method.outputs[0].name])


def _compared(spec: ArtifactSpec, reference: GraphModule, outputs: np.ndarray, images: np.ndarray, lsb: float) -> Comparison:
    from edgedistill.tasks.image_classification.models import predict
    from edgedistill.verify import judge
    from edgedistill.verify.parity import quantized_parity
    from edgedistill.verify.rungs import references

    return quantized_parity(outputs, predict(references(reference)[judge.reference(spec)], images), lsb)
