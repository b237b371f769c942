"""The steps of a run in their order, as a Python API: run, distill, export, verify, bench, report.

The only module that knows all parts. Each function takes what the command of the same name takes, and returns what
`--json` prints. A step that is finished is not done again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.files import canonical_hash, read_json, write_json
from edgedistill.progress import log, track
from edgedistill.run import Run, newest, open_run

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.export.programs import ArtifactSpec
    from edgedistill.recipe.load import LoadedRecipe
    from edgedistill.recipe.schema import Recipe
    from edgedistill.teach.imageset import ImageSet

_PARALLEL = 2
_ADAPTERS = {name: f"edgedistill.runtimes.{name}" for name in ("executorch", "litert")} | {
    "onnx": "edgedistill.runtimes.onnxruntime",
    "coreml": "edgedistill.verify.mil",
}
_TIMEOUT_S = 900.0


def newest_run(runs_dir: Path) -> Path:
    """The folder of the run in `runs_dir` that was worked on last."""
    return newest(runs_dir)


def run(loaded: LoadedRecipe, runs_dir: Path, *, fresh: bool = False) -> dict[str, Any]:
    """Do the whole flow of a recipe and return its summary; `status` tells whether every check held."""
    with open_run(runs_dir / loaded.recipe.name, fresh=fresh) as state:
        _distill(state, loaded, runs_dir)
        specs = _wanted(loaded.recipe.targets)
        _export(state, loaded.recipe, specs)
        _execute(state, loaded.recipe, specs, "val")
        _execute(state, loaded.recipe, specs, "bench")
        _holdout(state, loaded.recipe, specs)
        return _finish(state)


def distill(loaded: LoadedRecipe, runs_dir: Path, *, fresh: bool = False) -> dict[str, Any]:
    """Teach and train, up to the quantized state."""
    with open_run(runs_dir / loaded.recipe.name, fresh=fresh) as state:
        _distill(state, loaded, runs_dir)
        return _finish(state)


def export(run_dir: Path, targets: list[str], out: Path | None = None) -> dict[str, Any]:
    """Lower, verify and bundle the artifacts of `targets` (of the recipe's when empty) from a finished distillation.

    The bundles go to `out`, by default `bundles` in the run.
    """
    with open_run(_existing(run_dir)) as state:
        recipe = _recipe(state)
        specs = _wanted(targets or recipe.targets)
        _export(state, recipe, specs)
        _execute(state, recipe, specs, "val")
        summary = _finish(state, targets=targets or recipe.targets, out=out)
    from edgedistill.report.summary import status_of

    wanted = {s.name for s in specs}
    artifacts = [a for a in summary["artifacts"] if a["name"] in wanted]
    return {"run": summary["run"], "status": status_of(artifacts, []), "artifacts": artifacts, "bundles": summary["bundles"]}


def verify(run_dir: Path) -> dict[str, Any]:
    """Execute every artifact of a run on val again and hold it against the quantized state."""
    with open_run(_existing(run_dir)) as state:
        _execute(state, _recipe(state), _exported(state), "val", again=True)
        summary = _finish(state)
    return {key: summary[key] for key in ("run", "status", "artifacts", "pairs")}


def bench(run_dir: Path) -> dict[str, Any]:
    """Measure every artifact of a run on this machine again."""
    with open_run(_existing(run_dir)) as state:
        _execute(state, _recipe(state), _exported(state), "bench", again=True)
        summary = _finish(state)
    return {"run": summary["run"], "status": summary["status"], "artifacts": summary["artifacts"], "environment": summary["environment"]}


def report(run_dir: Path) -> Path:
    """Write the report of a run again from its records."""
    with open_run(_existing(run_dir)) as state:
        return Path(_finish(state)["report"])


def _existing(run_dir: Path) -> Path:
    if not (run_dir / "run.json").exists():
        raise UserError(f"{run_dir} is not a run; make one with `edgedistill run recipes/quickstart.yaml`, or name the folder of one")
    return run_dir


def _recipe(state: Run) -> Recipe:
    from edgedistill.recipe.schema import Recipe

    record = state.path("recipe.json")
    if state.result("qat") is None or not record.exists():
        raise UserError(f"{state.folder} has no finished distillation; go on with `edgedistill run` of its recipe")
    return Recipe.model_validate(read_json(record)["effective"])


def _distill(state: Run, loaded: LoadedRecipe, runs_dir: Path) -> None:
    """Steps data, teacher, signals, control, student, qat and programs."""
    from edgedistill.teach import load

    recipe, effective = loaded.recipe, loaded.effective()
    found = load.listing(recipe.data)
    record = {"path": loaded.path, "sha256": loaded.sha256, "command": loaded.command, "effective": effective}
    write_json(state.path("recipe.json"), record | {"effective_sha256": canonical_hash(effective)})
    data_inputs = [{key: effective["data"][key] for key in ("image_size", "split")}, load.fingerprint(found, recipe.data), recipe.seed]
    facts = state.step("data", data_inputs, lambda folder: load.prepare(found, recipe.data, recipe.seed, folder))

    from edgedistill.distill import stages
    from edgedistill.distill.trainer import Lesson
    from edgedistill.teach import imageset, signals
    from edgedistill.teach.views import Views

    images, classes = imageset.load(state.path("data")), len(facts["classes"])
    views = Views(images.images, recipe.data.augment, recipe.seed)
    lesson = Lesson(images, views, recipe.data.views, recipe.data.batch_size, recipe.seed)
    common = {
        "data": facts["sha256"],
        "seed": recipe.seed,
        **{k: effective["data"][k] for k in ("augment", "views", "batch_size", "mean", "std")},
    }

    teacher = state.step(
        "teacher", [common, effective["teacher"], _file_hash(recipe.teacher.checkpoint)], lambda f: stages.train_teacher(recipe, lesson, f)
    )
    preprocessing = {key: effective["data"][key] for key in ("image_size", "mean", "std")}
    key = signals.signal_key(
        teacher=teacher["sha256"], data=facts["sha256"], preprocessing=preprocessing, augment=effective["data"]["augment"], seed=recipe.seed
    )
    cache = runs_dir / ".cache" / "signals" / key
    model = stages.trained(recipe.teacher, recipe, classes, state.path("teacher"))
    taught = Lesson(
        images, views, recipe.data.views, recipe.data.batch_size, recipe.seed,
        signals.compute(model, images, views, recipe.data.views, cache, batch_size=recipe.data.batch_size),
    )  # fmt: skip
    floats = [effective["student"], _file_hash(recipe.student.checkpoint), effective["distill"]["weight_decay"]]
    plan = effective["distill"]["stages"]
    lengths = [[s["name"], s["epochs"], s["lr"]] for s in plan[:-1]]
    if recipe.distill.control:
        state.step("control", [common, floats, lengths], lambda f: stages.train_float(recipe, lesson, f, distilled=False))
    student = state.step("student", [common, key, floats, plan[:-1]], lambda f: stages.train_float(recipe, taught, f, distilled=True))
    trained = stages.trained(recipe.student, recipe, classes, state.path("student"))
    state.step(
        "qat", [common, key, student["sha256"], plan[-1], floats],
        lambda f: stages.train_quantized(recipe, taught, trained, f, sum(s.epochs for s in recipe.distill.stages[:-1])),
    )  # fmt: skip
    _programs(state, recipe, images)


def _file_hash(path: Path | None) -> str | None:
    from edgedistill.files import sha256_file

    return None if path is None else sha256_file(path)


def _programs(state: Run, recipe: Recipe, images: ImageSet) -> None:
    """Convert the trained student into its quantized state, save the programs, and score the rungs of PyTorch on val."""
    from edgedistill.distill import stages
    from edgedistill.export.programs import save_program
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.quantize.state import convert
    from edgedistill.verify.reference import Reference
    from edgedistill.verify.rungs import score

    size = recipe.data.image_size

    def work(folder: Path) -> dict[str, Any]:
        log("converting the student into its quantized state")
        rungs = _float_rungs(state, recipe, len(images.classes))
        module = stages.quantized(recipe, rungs["student"], state.path("qat"))
        quantized = convert(module)
        score(rungs | {"fake_quant": module, "converted": Reference(quantized.converted)}, images, "val", folder)
        for name in ("student", "teacher"):
            save_program(plain_batchnorm(rungs[name]), size, folder / f"{name}-float.pt2")
        save_program(quantized.converted, size, folder / "student-converted.pt2")
        save_program(quantized.unfolded, size, folder / "student-unfolded.pt2")
        return {"sha256": quantized.sha256, "output_scale": quantized.output_scale}

    state.step("programs", [state.result(s) for s in ("teacher", "student", "qat", "control")], work)


def _float_rungs(state: Run, recipe: Recipe, classes: int) -> dict[str, nn.Module]:
    from edgedistill.distill import stages

    names = ["teacher", *(["control"] if recipe.distill.control else []), "student"]
    return {n: stages.trained(recipe.teacher if n == "teacher" else recipe.student, recipe, classes, state.path(n)) for n in names}


def _wanted(targets: list[str]) -> list[ArtifactSpec]:
    """The artifacts of `targets`, each once, and the teacher as the file that it is measured by."""
    from edgedistill.export.programs import ArtifactSpec
    from edgedistill.recipe.targets import load_target

    specs = [ArtifactSpec(a.format, a.precision) for name in targets for a in load_target(name).artifacts]
    return list(dict.fromkeys([*specs, ArtifactSpec("onnx", "fp32", "teacher")]))


def _export(state: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> None:
    """One step a format, in parallel: converters wait on themselves more than on each other."""
    from edgedistill.export.lower import lower
    from edgedistill.export.programs import FORMATS

    programs = state.result("programs")
    metadata = {"generator": "edgedistill", "model": recipe.student.model, "state_sha256": programs["sha256"]}

    def one(name: str) -> None:
        chosen = [s for s in specs if s.format == name]
        inputs = [programs, [s.name for s in chosen], metadata]
        state.step(
            f"export-{name}", inputs, lambda f: lower(chosen, state.path("programs"), f, state.path("logs", f"export-{name}.log"), metadata)
        )

    # Those that take longest start first.
    _parallel("export", [name for name in FORMATS if any(s.format == name for s in specs)], one)


def _parallel(description: str, items: list[str], work: Callable[[str], None]) -> None:
    """Call `work` on each item, two at a time, with progress; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(_PARALLEL) as pool, track(description, len(items)) as progress:

        def one(item: str) -> None:
            work(item)
            progress.advance(1, last=item)

        for future in [pool.submit(one, item) for item in items]:
            future.result()


def _exported(state: Run) -> list[ArtifactSpec]:
    """The artifacts that a run has by now."""
    from edgedistill.export.programs import FORMATS, ArtifactSpec

    done = [a for name in FORMATS for a in (state.result(f"export-{name}") or {"artifacts": []})["artifacts"]]
    if not done:
        raise UserError(f"{state.folder} has no artifacts; make them with `edgedistill export {state.folder}`")
    return [ArtifactSpec(a["format"], a["precision"], a["role"]) for a in done]


def _execute(state: Run, recipe: Recipe, specs: list[ArtifactSpec], kind: str, *, again: bool = False) -> None:
    """Run every artifact in a child process: on `val` or `holdout` for its outputs, or for `bench` to measure it.

    A runtime that crashes is recorded as that artifact's error, and the others go on.
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
        chosen = [s.name for s in specs if s.format != "coreml"]
        with track("bench", len(chosen)) as progress:
            for name in chosen:
                one(name)
                progress.advance(1, last=name)
    else:
        _parallel(f"run on {kind}", [s.name for s in specs], one)


def _run_artifact(state: Run, recipe: Recipe, spec: ArtifactSpec, kind: str, folder: Path) -> dict[str, Any]:
    import numpy as np

    from edgedistill.measure.local import execute

    measured = recipe.measure
    try:
        done = execute(
            _ADAPTERS[spec.format],
            state.path(f"export-{spec.format}", spec.name),
            state.path("holdout" if kind == "holdout" else "programs", f"{'holdout' if kind == 'holdout' else 'val'}.npy"),
            outputs=None if kind == "bench" else folder / "outputs.npy",
            threads=measured.threads,
            bench={**measured.model_dump(exclude={"threads"}), "relative_width": 0.01} if kind == "bench" else None,
            log=state.path("logs", f"{kind}-{spec.name}.log"),
            timeout_s=_TIMEOUT_S,
        )
    except DeviceFailed as error:
        return {"error": str(error)}
    record = {k: v for k, v in asdict(done).items() if k not in ("outputs", "raw_durations_ns")}
    if kind == "bench":
        np.save(folder / "durations_ns.npy", np.array(done.raw_durations_ns, np.int64))
    return record


def _holdout(state: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> None:
    """Score every rung on the holdout, once and last: nothing before this line reads it, nothing after decides by it."""
    from edgedistill.teach import imageset
    from edgedistill.verify.rungs import load_converted, score

    images = imageset.load(state.path("data"))
    if not len(images.indices["holdout"]):
        return

    def work(folder: Path) -> None:
        log(f"scoring the holdout of {len(images.indices['holdout'])} images")
        rungs = _float_rungs(state, recipe, len(images.classes))
        score(rungs | {"converted": load_converted(state.path("programs", "student-converted.pt2"))}, images, "holdout", folder)

    state.step("holdout", state.result("programs"), work)
    _execute(state, recipe, specs, "holdout")


def _finish(state: Run, *, targets: list[str] | None = None, out: Path | None = None) -> dict[str, Any]:
    """Write the summary, the bundles of `targets` and the report from what is done."""
    from edgedistill.measure.runner.facts import machine
    from edgedistill.report import write_report
    from edgedistill.report.summary import summarize

    summary = summarize(state, {**machine(), "packages": _versions()})
    summary["bundles"] = _bundles(state, summary, targets or summary["recipe"]["effective"]["targets"], out or state.path("bundles"))
    write_json(state.path("summary.json"), summary)
    write_report(summary, state.path("report.html"))
    return summary


def _bundles(state: Run, summary: dict[str, Any], targets: list[str], out: Path) -> dict[str, str]:
    """Write the bundle of each target whose artifacts are all there."""
    from edgedistill.bundle.write import GOLDEN, write_bundle
    from edgedistill.recipe.targets import load_target
    from edgedistill.report.summary import golden

    ready = {(a["format"], a["precision"]): a for a in summary["artifacts"] if a["role"] == "student" and a["ok"] is not None}
    recipe, written = summary["recipe"]["effective"], {}
    for target in map(load_target, targets):
        wanted = [(a.format, a.precision) for a in target.artifacts]
        if not all(pair in ready for pair in wanted):
            continue
        chosen = [ready[pair] for pair in wanted]
        model = {
            "name": recipe["student"]["model"], "classes": summary["data"]["classes"], "versions": summary["environment"]["packages"],
            **{key: recipe["data"][key] for key in ("image_size", "mean", "std")},
            "state_sha256": summary["state"]["sha256"], "output_scale": summary["state"]["output_scale"],
        }  # fmt: skip
        images, outputs = golden(state, chosen, GOLDEN)
        folder = out / target.name
        write_bundle(folder, target=target.model_dump(), artifacts=chosen, run=state.folder, model=model, images=images, outputs=outputs)
        written[target.name] = str(folder)
    return written


_PACKAGES = ("edgedistill", "torch", "torchvision", "timm", "torchao", "executorch", "coremltools", "onnx", "onnxscript", "onnxruntime",
             "ai-edge-litert", "litert-torch", "numpy")  # fmt: skip


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
