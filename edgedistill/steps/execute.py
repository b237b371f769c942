"""The steps that run artifacts: on val or the holdout for their outputs, or to measure them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

from edgedistill import scratch
from edgedistill.backends import backend
from edgedistill.errors import DeviceFailed, NotExecuted
from edgedistill.files import read_arrays, remove, write_array, write_arrays
from edgedistill.measure.adapters import executor_of, not_here, sampling
from edgedistill.measure.generation import asked, stateful
from edgedistill.measure.inputs import taken
from edgedistill.progress import track
from edgedistill.records import Execution
from edgedistill.records.generation import TimedExecution
from edgedistill.run import Run, Step
from edgedistill.steps.declared import program_files
from edgedistill.steps.parallel import parallel
from edgedistill.verify import stored
from edgedistill.verify.stored import OUTPUTS, SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from edgedistill.measure import records
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec
    from edgedistill.signature import MethodSignature, Signature

_TIMEOUT_S = 900.0


def execute(
    run: Run, recipe: Recipe, specs: list[ArtifactSpec], kind: str, *, again: bool = False, before: Callable[[], None] = lambda: None
) -> None:
    """Run every artifact in a child process: on `val` or `holdout` for its outputs, or for `bench` to measure it.

    A runtime that crashes is recorded as that artifact's error, and the others go on. What nothing here can execute is recorded as
    unavailable, with the reason. before: called before each artifact that is run, and for none that was.
    """

    def run_it(name: str) -> None:
        spec = next(s for s in specs if s.name == name)

        def work(folder: Path) -> Execution:
            before()
            return _run_artifact(run, recipe, spec, kind, folder)

        run.step(_execution(spec, recipe, kind), work, again=again)

    if kind == "bench":
        # One at a time, and nothing beside it: two would measure each other.
        chosen = [s.name for s in specs if backend(s.format).measured_here and s.delegate is None]
        with track("bench", len(chosen)) as progress:
            for name in chosen:
                run_it(name)
                progress.advance(1, last=name)
    else:
        parallel(f"run on {kind}", [s.name for s in specs], run_it)


def _execution(spec: ArtifactSpec, recipe: Recipe, kind: str) -> Step:
    """The step `KIND-NAME` that runs an artifact: made of the file, what it is given, and what executes it."""
    try:
        adapter = executor_of(spec)
    except DeviceFailed:
        # The step says why nothing does.
        adapter = None
    return Step(
        f"{kind}-{spec.name}",
        recipe.measure.model_dump() if kind == "bench" else None,
        reads=(spec.path, program_files(spec.program)[1], SAMPLES[_split(kind)]),
        code=(adapter.module,) if adapter else (),
        packages=(adapter.package,) if adapter else (),
    )


def _run_artifact(run: Run, recipe: Recipe, spec: ArtifactSpec, kind: str, folder: Path) -> Execution:
    import numpy as np

    measured, split = recipe.measure, _split(kind)
    parts = stored.parts(run, spec, split)
    if not parts:
        sizes = " and ".join(f"{size} {name}" for name, size in (spec.sizes or {}).items())
        return Execution(unavailable=f"no sample of {split} is filled up to {sizes}")
    try:
        if why := not_here(spec.format, spec.delegate, run.path(spec.path)):
            return Execution(unavailable=why)
        if kind == "bench" or len(parts) == 1:
            # Of several sizes the largest takes longest.
            execution = _executed(run, recipe, spec, kind, *parts[-1], None if kind == "bench" else folder / OUTPUTS)
        else:
            execution = _executed_by_size(run, recipe, spec, kind, parts, folder / OUTPUTS)
        if kind != "bench" and spec.sizes and parts[0][1] is not None:
            stored.save_places(folder, parts[0][1])
    except NotExecuted as error:
        return Execution(unavailable=str(error))
    except DeviceFailed as error:
        return Execution(error=str(error))
    if kind == "bench":
        write_array(folder / "durations_ns.npy", np.array(execution.raw_durations_ns, np.int64))
    # Not by asdict: it would take the records apart.
    known = {field.name: getattr(execution, field.name) for field in fields(execution)}
    kind_of = TimedExecution if kind == "bench" else Execution
    facts = {name: value for name, value in known.items() if name in kind_of.model_fields}
    return kind_of(**facts, executed_by=executor_of(spec).executed_by, threads=measured.threads)


def _split(kind: str) -> str:
    return "holdout" if kind == "holdout" else "val"


def _executed(
    run: Run, recipe: Recipe, spec: ArtifactSpec, kind: str, sizes: dict[str, int], places: np.ndarray | None, outputs: Path | None
) -> records.Execution:
    """Run a file at `sizes` on the samples with `places` in their split; what it gives is written into the folder `outputs`."""
    from edgedistill.measure import local

    signature = signature_of(run, spec)
    method = signature.forward.with_sizes(sizes)
    with taken(run.path(SAMPLES[_split(kind)]), method, spec.input, places=places) as inputs:
        return local.execute(
            executor_of(spec).module,
            run.path(spec.path),
            inputs,
            signature=method,
            outputs=outputs,
            threads=recipe.measure.threads,
            bench=sampling(recipe.measure) if kind == "bench" else None,
            log=run.path("logs", f"{kind}-{spec.name}.log"),
            timeout_s=_TIMEOUT_S,
            generation=asked(stateful(signature, piece=backend(spec.format).prompt_pieces.get(spec.precision)), None, None),
        )


def _executed_by_size(
    run: Run, recipe: Recipe, spec: ArtifactSpec, kind: str, parts: list[tuple[dict[str, int], np.ndarray | None]], outputs: Path
) -> records.Execution:
    """Run a file at one size after the other, and write what it gives for all samples of the split together."""
    import numpy as np

    given = []
    with scratch.temporary() as folder:
        for sizes, places in parts:
            execution = _executed(run, recipe, spec, kind, sizes, places, folder / OUTPUTS)
            given.append(read_arrays(folder / OUTPUTS))
            remove(folder / OUTPUTS)
    back = np.argsort(np.concatenate([places for _, places in parts if places is not None]))
    write_arrays(outputs, {name: np.concatenate([each[name] for each in given])[back] for name in given[0]})
    return execution


def method_of(run: Run, spec: ArtifactSpec) -> MethodSignature:
    """What an artifact of a run takes and gives, with the sizes that its samples have; one that they differ in keeps its name."""
    one_size = all(places is None for _, places in stored.parts(run, spec, "val"))
    return signature_of(run, spec).forward.with_sizes(stored.sizes(run) if one_size else {})


def signature_of(run: Run, spec: ArtifactSpec) -> Signature:
    """What an artifact of a run takes and gives, and what it keeps between calls."""
    from edgedistill.export.fitting import of_file
    from edgedistill.export.programs import load_signature

    return of_file(load_signature(run.work(spec.program)), spec)
