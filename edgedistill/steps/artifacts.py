"""From a quantized state to artifacts that were executed: lowered, run on val, measured, scored on the holdout."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill import tasks
from edgedistill.backends import backend, formats
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.files import remove
from edgedistill.measure.adapters import executor_of, not_here, sampling
from edgedistill.measure.inputs import taken
from edgedistill.packages import installed
from edgedistill.progress import log, track
from edgedistill.records import Execution, Lowered
from edgedistill.run import Run, Step
from edgedistill.steps import variants
from edgedistill.steps.declared import SHARED, program_files
from edgedistill.steps.distill import shipped_rungs
from edgedistill.verify import stored
from edgedistill.verify.stored import OUTPUTS, RUNGS, SAMPLES

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec
    from edgedistill.signature import MethodSignature

_PARALLEL = 2
_TIMEOUT_S = 900.0


def wanted(recipe: Recipe, targets: list[str]) -> list[ArtifactSpec]:
    """The artifacts of `targets`, each once, and a teacher that is lowered as the file that it is measured by."""
    from edgedistill.backends import backends
    from edgedistill.recipe.targets import load_target
    from edgedistill.records import ArtifactSpec

    specs = [a.spec for name in targets for a in load_target(name).artifacts]
    holder = next((own.format for own in backends().values() if own.holds_teachers), None)
    teacher = [ArtifactSpec(holder, "fp32", "teacher")] if holder and getattr(recipe.teacher, "lowered", False) else []
    return list(dict.fromkeys([*specs, *teacher]))


def export(run: Run, recipe: Recipe, specs: list[ArtifactSpec], *, again: bool = False) -> None:
    """The programs of post-training precisions, then one step a format, two at a time: a converter keeps one core busy.

    again: lower files anew that were lowered before from the same programs.
    """
    from edgedistill.export.lower import lower

    variants.make(run, recipe, specs)
    _check(run, specs)
    programs = run.result("programs")
    metadata = {"generator": "edgedistill", "model": recipe.student.label, "state_sha256": programs["sha256"]}

    def one(name: str) -> None:
        chosen = [s for s in specs if s.format == name]
        step = _lowering(name, chosen, metadata)

        def work(folder: Path) -> Lowered:
            done = lower(chosen, run.work(), folder, run.path("logs", f"export-{name}.log"), metadata)
            if companions := backend(name).companions:
                import_module(companions).write(folder, [s.name for s in chosen])
            for output in step.outputs:
                # One of an interrupted try may be there.
                remove(run.path(output))
                (folder / Path(output).name).rename(run.path(output))
            made_with = installed(step.packages)
            return Lowered(artifacts=[a.model_copy(update={"packages": made_with}) for a in done.artifacts], peak_rss_mb=done.peak_rss_mb)

        run.step(step, work, again=again)

    parallel("export", [name for name in formats() if any(s.format == name for s in specs)], one)


def _check(run: Run, specs: list[ArtifactSpec]) -> None:
    """UserError with every file that its format cannot hold, before anything is lowered."""
    from edgedistill.export.fitting import check, of_file
    from edgedistill.export.programs import load_operators, load_signature

    refused = []
    for spec in specs:
        program = run.work(spec.program)
        try:
            signature = load_signature(program)
            check(load_operators(program), signature, spec)
            of_file(signature, spec)
        except UserError as error:
            refused.append(str(error))
    if refused:
        raise UserError("; ".join(refused))


def _lowering(name: str, chosen: list[ArtifactSpec], metadata: dict[str, Any]) -> Step:
    """The step that lowers to the format `name`: made of the programs, the format's own code, and the packages that lower."""
    backends = [backend(name)]
    for spec in chosen:
        # A delegate may be lowered to by the converter of another format.
        executed_as = backend(name).delegates[spec.delegate].executed_as if spec.delegate else None
        backends += [backend(executed_as)] if executed_as else []
    companions = backend(name).companions
    files = import_module(companions).FILES if companions else ()
    return Step(
        f"export-{name}",
        [[spec.model_dump() for spec in chosen], metadata],
        reads=tuple(dict.fromkeys(path for spec in chosen for path in program_files(spec.program))),
        code=tuple(dict.fromkeys([*(one.lower for one in backends), *([companions] if companions else []), *SHARED])),
        packages=tuple(dict.fromkeys(package for one in backends for package in one.packages)),
        outputs=(*(spec.path for spec in chosen), *(f"artifacts/{file}" for file in files)),
    )


def parallel(description: str, items: list[str], work: Callable[[str], None]) -> None:
    """Call `work` on each item, two at a time, with progress; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(_PARALLEL) as pool, track(description, len(items)) as progress:

        def one(item: str) -> None:
            work(item)
            progress.advance(1, last=item)

        for future in [pool.submit(one, item) for item in items]:
            future.result()


def exported(run: Run) -> list[ArtifactSpec]:
    """The artifacts that a run has by now, perhaps none."""
    return [artifact.spec for artifact in run.artifacts()]


def execute(run: Run, recipe: Recipe, specs: list[ArtifactSpec], kind: str, *, again: bool = False) -> None:
    """Run every artifact in a child process: on `val` or `holdout` for its outputs, or for `bench` to measure it.

    A runtime that crashes is recorded as that artifact's error, and the others go on. What nothing here can execute is recorded as
    unavailable, with the reason.
    """

    def one(name: str) -> None:
        spec = next(s for s in specs if s.name == name)
        run.step(_execution(spec, recipe, kind), lambda folder: _run_artifact(run, recipe, spec, kind, folder), again=again)

    if kind == "bench":
        # One at a time, and nothing beside it: two would measure each other.
        chosen = [s.name for s in specs if backend(s.format).measured_here and s.delegate is None]
        with track("bench", len(chosen)) as progress:
            for name in chosen:
                one(name)
                progress.advance(1, last=name)
    else:
        parallel(f"run on {kind}", [s.name for s in specs], one)


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
        reads=(spec.path, program_files(spec.program)[1], SAMPLES["holdout" if kind == "holdout" else "val"]),
        code=(adapter.module,) if adapter else (),
        packages=(adapter.package,) if adapter else (),
    )


def _run_artifact(run: Run, recipe: Recipe, spec: ArtifactSpec, kind: str, folder: Path) -> Execution:
    import numpy as np

    from edgedistill.measure import local

    measured, path = recipe.measure, run.path(spec.path)
    try:
        if why := not_here(spec.format, spec.delegate, path):
            return Execution(unavailable=why)
        method = method_of(run, spec)
        with taken(run.path(SAMPLES["holdout" if kind == "holdout" else "val"]), method, spec.input) as inputs:
            done = local.execute(
                executor_of(spec).module,
                path,
                inputs,
                signature=method,
                outputs=None if kind == "bench" else folder / OUTPUTS,
                threads=measured.threads,
                bench=sampling(measured) if kind == "bench" else None,
                log=run.path("logs", f"{kind}-{spec.name}.log"),
                timeout_s=_TIMEOUT_S,
            )
    except DeviceFailed as error:
        return Execution(error=str(error))
    if kind == "bench":
        np.save(folder / "durations_ns.npy", np.array(done.raw_durations_ns, np.int64))
    facts = {name: value for name, value in asdict(done).items() if name in Execution.model_fields}
    return Execution(**facts, executed_by=executor_of(spec).executed_by, threads=measured.threads)


def method_of(run: Run, spec: ArtifactSpec) -> MethodSignature:
    """What an artifact of a run takes and gives, with the sizes that its samples have."""
    from edgedistill.export.fitting import of_file
    from edgedistill.export.programs import load_signature

    return of_file(load_signature(run.work(spec.program)), spec).forward.with_sizes(stored.sizes(run))


def score_holdout(run: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> None:
    """Score every rung on the holdout, once and last: nothing before this line reads it, nothing after decides by it."""
    from edgedistill.export.programs import load_signature
    from edgedistill.files import write_arrays
    from edgedistill.steps.teach import faculty_of
    from edgedistill.verify.rungs import load_converted, references, save_samples, score

    task = tasks.task(recipe.task)
    data = task.dataset(recipe, run.work("data"))
    holdout = data.indices["holdout"]
    if not len(holdout) or not (data.targets(holdout) or task.scores_against_teacher):
        return

    def work(folder: Path) -> None:
        log(f"scoring the holdout of {len(holdout)} {task.words.samples}")
        rungs = shipped_rungs(run, recipe, data.facts)
        program = run.work("programs", "student-reference.pt2")
        signature = load_signature(program)
        save_samples(data, "holdout", folder / Path(SAMPLES["holdout"]).name)
        score(rungs | references(load_converted(program)), data, signature, "holdout", folder, batched=task.batched(recipe))
        if recipe.distill is None:
            return
        faculty = faculty_of(run, recipe, data)
        write_arrays(folder / RUNGS / "teacher", faculty.merged(faculty.outputs("holdout"), holdout))

    trained = ("control", "student") if recipe.distill is not None and recipe.distill.control else ("student",)
    step = Step(
        "holdout",
        run.result("programs")["temperature"],
        reads=("work/data", *program_files("programs/student-reference.pt2"), *(f"work/{name}" for name in trained)),
        code=("edgedistill.verify.rungs",),
        packages=("torch", "torchao"),
    )
    run.step(step, work)
    execute(run, recipe, specs, "holdout")
