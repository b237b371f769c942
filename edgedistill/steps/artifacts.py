"""From a quantized state to artifacts that were executed: lowered, run on val, measured, scored on the holdout."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.backends import backend, formats
from edgedistill.errors import DeviceFailed
from edgedistill.measure.adapters import executor_of, not_here, sampling
from edgedistill.measure.inputs import method_of, taken
from edgedistill.progress import log, track
from edgedistill.run import Run
from edgedistill.steps import variants
from edgedistill.steps.distill import shipped_rungs

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec, Lowered

_PARALLEL = 2
_TIMEOUT_S = 900.0


def wanted(recipe: Recipe, targets: list[str]) -> list[ArtifactSpec]:
    """The artifacts of `targets`, each once, and a teacher of timm as the file that it is measured by."""
    from edgedistill.recipe.targets import load_target
    from edgedistill.recipe.teachers import TimmTeacher
    from edgedistill.records import ArtifactSpec

    specs = [a.spec for name in targets for a in load_target(name).artifacts]
    teacher = [ArtifactSpec("onnx", "fp32", "teacher")] if isinstance(recipe.teacher, TimmTeacher) else []
    return list(dict.fromkeys([*specs, *teacher]))


def export(state: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> None:
    """The programs of post-training precisions, then one step a format, two at a time: a converter keeps one core busy."""
    from edgedistill.export.lower import lower

    made = variants.make(state, recipe, specs)
    programs = state.result("programs")
    metadata = {"generator": "edgedistill", "model": recipe.student.label, "state_sha256": programs["sha256"]}

    def one(name: str) -> None:
        chosen = [s for s in specs if s.format == name]

        def work(folder: Path) -> Lowered:
            for later in (f"{kind}-{spec.name}" for kind in ("val", "bench", "holdout", "delegation", "ranges") for spec in chosen):
                state.forget(later)
            done = lower(chosen, state.folder, folder, state.path("logs", f"export-{name}.log"), metadata)
            if companions := backend(name).companions:
                import_module(companions).write(folder, [s.name for s in chosen])
            return done

        from_ = {s.precision: made[s.precision] for s in chosen if s.precision in made}
        state.step(f"export-{name}", [programs, [s.name for s in chosen], metadata, from_], work)

    parallel("export", [name for name in formats() if any(s.format == name for s in specs)], one)


def parallel(description: str, items: list[str], work: Callable[[str], None]) -> None:
    """Call `work` on each item, two at a time, with progress; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(_PARALLEL) as pool, track(description, len(items)) as progress:

        def one(item: str) -> None:
            work(item)
            progress.advance(1, last=item)

        for future in [pool.submit(one, item) for item in items]:
            future.result()


def exported(state: Run) -> list[ArtifactSpec]:
    """The artifacts that a run has by now, perhaps none."""
    return [artifact.spec for artifact in state.artifacts()]


def execute(state: Run, recipe: Recipe, specs: list[ArtifactSpec], kind: str, *, again: bool = False) -> None:
    """Run every artifact in a child process: on `val` or `holdout` for its outputs, or for `bench` to measure it.

    A runtime that crashes is recorded as that artifact's error, and the others go on. What nothing here can execute is recorded as
    unavailable, with the reason.
    """
    for spec in specs:
        # A failure is kept for the report, not for the next try.
        if again or "error" in (state.result(f"{kind}-{spec.name}") or {}):
            state.forget(f"{kind}-{spec.name}")

    def one(name: str) -> None:
        spec = next(s for s in specs if s.name == name)
        inputs = [state.artifact(name).sha256, recipe.measure.model_dump() if kind == "bench" else None]
        state.step(f"{kind}-{name}", inputs, lambda folder: _run_artifact(state, recipe, spec, kind, folder))

    if kind == "bench":
        # One at a time, and nothing beside it: two would measure each other.
        chosen = [s.name for s in specs if backend(s.format).measured_here and s.delegate is None]
        with track("bench", len(chosen)) as progress:
            for name in chosen:
                one(name)
                progress.advance(1, last=name)
    else:
        parallel(f"run on {kind}", [s.name for s in specs], one)


def _run_artifact(state: Run, recipe: Recipe, spec: ArtifactSpec, kind: str, folder: Path) -> dict[str, Any]:
    import numpy as np

    from edgedistill.export.programs import load_signature
    from edgedistill.measure import local

    measured, path = recipe.measure, state.path(f"export-{spec.format}", spec.name)
    try:
        if why := not_here(spec.format, spec.delegate, path):
            return {"unavailable": why}
        images = state.path("holdout", "holdout.npy") if kind == "holdout" else state.path("programs", "val.npy")
        with taken(images, spec.input) as inputs:
            done = local.execute(
                executor_of(spec).module,
                path,
                inputs,
                signature=method_of(load_signature(state.path(spec.program)), spec.input),
                outputs=None if kind == "bench" else folder / "outputs.npy",
                threads=measured.threads,
                bench=sampling(measured) if kind == "bench" else None,
                log=state.path("logs", f"{kind}-{spec.name}.log"),
                timeout_s=_TIMEOUT_S,
            )
    except DeviceFailed as error:
        return {"error": str(error)}
    record = {k: v for k, v in asdict(done).items() if k not in ("outputs", "raw_durations_ns")} | {"threads": measured.threads}
    if kind == "bench":
        np.save(folder / "durations_ns.npy", np.array(done.raw_durations_ns, np.int64))
    return record


def score_holdout(state: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> None:
    """Score every rung on the holdout, once and last: nothing before this line reads it, nothing after decides by it."""
    import numpy as np

    from edgedistill.steps.teach import faculty_of
    from edgedistill.tasks.image_classification import imageset
    from edgedistill.verify.rungs import load_converted, references, score

    images = imageset.load(state.path("data"))
    if not len(images.indices["holdout"]) or not images.classes:
        return

    def work(folder: Path) -> None:
        log(f"scoring the holdout of {len(images.indices['holdout'])} images")
        rungs = shipped_rungs(state, recipe, len(images.classes))
        score(rungs | references(load_converted(state.path("programs", "student-reference.pt2"))), images, "holdout", folder)
        if recipe.distill is None:
            return
        faculty = faculty_of(state, recipe, images)
        np.save(folder / "teacher.npy", faculty.merged(faculty.logits(images, "holdout"), images.indices["holdout"]))

    state.step("holdout", state.result("programs"), work)
    execute(state, recipe, specs, "holdout")
