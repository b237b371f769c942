"""From a quantized state to artifacts that were executed: lowered, run on val, measured, scored on the holdout."""

from __future__ import annotations

import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.backends import backends
from edgedistill.errors import DeviceFailed
from edgedistill.pipeline import variants
from edgedistill.pipeline.inputs import taken
from edgedistill.pipeline.training import shipped_rungs
from edgedistill.progress import log, track
from edgedistill.recipe.precisions import is_static
from edgedistill.run import Run

if TYPE_CHECKING:
    from edgedistill.export.programs import ArtifactSpec
    from edgedistill.recipe.schema import Measure, Recipe

_PARALLEL = 2
_LONGEST_FIRST = ("executorch", "litert", "coreml", "onnx", "ort")
ADAPTERS = {kind: one.adapters[0].module for kind, one in backends().items()}
FILE_ADAPTERS = {kind: module for kind, module in ADAPTERS.items() if kind != "coreml"}
"""What runs a file that is not of a run, by the format that `inspect` tells."""
# Rounds after each operation, so that what overflows on a phone does so here.
FLOAT16_COREML = "edgedistill.backends.coreml.mil.float16"
CORE_ML_DELEGATE = "edgedistill.backends.coreml.mil.delegate"
_TIMEOUT_S = 900.0


def wanted(recipe: Recipe, targets: list[str]) -> list[ArtifactSpec]:
    """The artifacts of `targets`, each once, and a teacher of timm as the file that it is measured by."""
    from edgedistill.export.programs import ArtifactSpec
    from edgedistill.recipe.targets import load_target
    from edgedistill.recipe.teachers import TimmTeacher

    specs = [ArtifactSpec.of(a.model_dump()) for name in targets for a in load_target(name).artifacts]
    teacher = [ArtifactSpec("onnx", "fp32", "teacher")] if isinstance(recipe.teacher, TimmTeacher) else []
    return list(dict.fromkeys([*specs, *teacher]))


def export(state: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> None:
    """The programs of post-training precisions, then one step a format, two at a time: a converter keeps one core busy."""
    from edgedistill.backends.onnx import ort_operators
    from edgedistill.export.lower import lower

    made = variants.make(state, recipe, specs)
    programs = state.result("programs")
    metadata = {"generator": "edgedistill", "model": recipe.student.label, "state_sha256": programs["sha256"]}

    def one(name: str) -> None:
        chosen = [s for s in specs if s.format == name]

        def work(folder: Path) -> dict[str, Any]:
            for later in (f"{kind}-{spec.name}" for kind in ("val", "bench", "holdout", "delegation", "ranges") for spec in chosen):
                state.forget(later)
            done = lower(chosen, state.folder, folder, state.path("logs", f"export-{name}.log"), metadata)
            if name == "ort":
                ort_operators.write(folder, [s.name for s in chosen])
            return done

        from_ = {s.precision: made[s.precision] for s in chosen if s.precision in made}
        state.step(f"export-{name}", [programs, [s.name for s in chosen], metadata, from_], work)

    parallel("export", [name for name in _LONGEST_FIRST if any(s.format == name for s in specs)], one)


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
    from edgedistill.export.programs import FORMATS, ArtifactSpec

    return [ArtifactSpec.of(a) for name in FORMATS for a in (state.result(f"export-{name}") or {"artifacts": []})["artifacts"]]


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
        lowered = next(a for a in state.result(f"export-{spec.format}")["artifacts"] if a["name"] == name)
        inputs = [lowered["sha256"], recipe.measure.model_dump() if kind == "bench" else None]
        state.step(f"{kind}-{name}", inputs, lambda folder: _run_artifact(state, recipe, spec, kind, folder))

    if kind == "bench":
        # One at a time, and nothing beside it: two would measure each other.
        chosen = [s.name for s in specs if s.format != "coreml" and s.delegate is None]
        with track("bench", len(chosen)) as progress:
            for name in chosen:
                one(name)
                progress.advance(1, last=name)
    else:
        parallel(f"run on {kind}", [s.name for s in specs], one)


def adapter_of(spec: ArtifactSpec) -> str:
    """What executes the artifact, whether it is its own runtime or this package's executor of Core ML programs."""
    if spec.delegate == "coreml":
        return CORE_ML_DELEGATE
    # The int8 packages alone compute in float32.
    return core_ml(not is_static(spec.precision))[0] if spec.format == "coreml" else ADAPTERS[spec.format]


def core_ml(float16: bool) -> tuple[str, str]:
    """What executes a Core ML package that computes in float16 or not, and what it is called: Core ML where it is, on a Mac."""
    if platform.system() == "Darwin":
        return "edgedistill.backends.coreml.adapter", "own_runtime"
    return (FLOAT16_COREML, "mil_float16") if float16 else (ADAPTERS["coreml"], "mil_float64")


def not_here(delegate: str | None, path: Path) -> str | None:
    """Why nothing on this machine executes the .pte `path` of a delegate, or None. Raises DeviceFailed for a broken file."""
    from edgedistill.backends.delegation import delegation
    from edgedistill.recipe.precisions import NEEDS

    if delegate != "coreml":
        return NEEDS.get(delegate or "")
    found = delegation("executorch", path)
    left = sum(found["outside"].values())
    if found["partitions"] == 1 and not left:
        return None
    parts = f"Core ML is given {found['partitions']} parts and {left} operator(s) are left outside of them"
    return f"{parts}, so that no one program can be taken out and executed. {NEEDS['coreml']}"


def _run_artifact(state: Run, recipe: Recipe, spec: ArtifactSpec, kind: str, folder: Path) -> dict[str, Any]:
    import numpy as np

    from edgedistill.measure import local

    measured, path = recipe.measure, state.path(f"export-{spec.format}", spec.name)
    try:
        if why := not_here(spec.delegate, path):
            return {"unavailable": why}
        images = state.path("holdout", "holdout.npy") if kind == "holdout" else state.path("programs", "val.npy")
        with taken(images, spec.input) as inputs:
            done = local.execute(
                adapter_of(spec),
                path,
                inputs,
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


def sampling(measure: Measure) -> dict[str, Any]:
    """How long to sample, as `local.execute` takes it."""
    return {**measure.model_dump(exclude={"threads"}), "relative_width": 0.01}


def score_holdout(state: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> None:
    """Score every rung on the holdout, once and last: nothing before this line reads it, nothing after decides by it."""
    import numpy as np

    from edgedistill.pipeline.teaching import faculty_of
    from edgedistill.teach import imageset
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
