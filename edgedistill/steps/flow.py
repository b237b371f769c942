"""The steps of a run in their order, as a Python API: run, distill, export, verify, bench, report.

The only part that knows all others. Each function takes what the command of the same name takes, and returns what
`--json` prints. A step that is finished is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import processes
from edgedistill.errors import UserError
from edgedistill.measure import app_runner, benchfile, harness, own_runner
from edgedistill.packages import require
from edgedistill.recipe.loading import AnyRecipe, LoadedRecipe, load_recipe, recorded
from edgedistill.run import Run
from edgedistill.runs import is_run, newest, open_run, read_run
from edgedistill.steps import delegation, divergence, holdout, lowering, quantize, ranges, trials, verify_external
from edgedistill.steps.distill import train
from edgedistill.steps.execute import execute
from edgedistill.steps.opening import opened
from edgedistill.steps.report import check_bundles, clear_bundles, write_outcome
from edgedistill.steps.wanted import wanted

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec, Status
    from edgedistill.records.documents import Benched, BenchedFile, Exported, Verified, VerifiedFile
    from edgedistill.records.stored import DeviceBench
    from edgedistill.records.summary import Summary

RUNS = Path("runs")
"""Where runs are when nothing else is said."""
AnyPath = str | Path


def newest_run(runs_dir: AnyPath = RUNS) -> Path:
    """The folder of the run in `runs_dir` that was worked on last."""
    return newest(Path(runs_dir))


def run(recipe: AnyRecipe, runs_dir: AnyPath = RUNS, *, fresh: bool = False) -> Summary | None:
    """Do the whole flow of a recipe and return its summary, whose `status` says whether every check held.

    recipe: the path or name of one, its fields, or one that `load_recipe` returned, which can allow the recipe to name code.
    """
    loaded = load_recipe(recipe)
    require("export", "report")
    with open_run(Path(runs_dir) / loaded.recipe.name, fresh=fresh) as run:
        if fresh:
            clear_bundles(run.path("bundles"))
        check_bundles(run.path("bundles"), loaded.recipe.targets)
        _quantized(run, loaded, Path(runs_dir))
        if not processes.is_main():
            return None
        specs = lowering.lower(run, loaded.recipe, wanted(loaded.recipe, loaded.recipe.targets))
        execute(run, loaded.recipe, specs, "val")
        trials.make(run, loaded.recipe, specs)
        divergence.locate(run, loaded.recipe, specs)
        delegation.examine(run, loaded.recipe, specs, loaded.recipe.targets)
        ranges.scan(run, specs)
        execute(run, loaded.recipe, specs, "bench")
        holdout.score(run, loaded.recipe, specs)
        return write_outcome(run)


def distill(recipe: AnyRecipe, runs_dir: AnyPath = RUNS, *, fresh: bool = False) -> Summary | None:
    """Teach and train, up to the quantized state; `recipe` as in `run`."""
    loaded = load_recipe(recipe)
    require("train", "report")
    with open_run(Path(runs_dir) / loaded.recipe.name, fresh=fresh) as run:
        _quantized(run, loaded, Path(runs_dir))
        return write_outcome(run) if processes.is_main() else None


def _quantized(run: Run, loaded: LoadedRecipe, runs_dir: Path) -> None:
    """Bring a run to its quantized state: by training, or after it."""
    if loaded.recipe.distill is None:
        quantize.quantize(run, loaded)
    else:
        train(run, loaded, runs_dir)


def export(run_dir: AnyPath, targets: Sequence[str] = (), out: AnyPath | None = None, *, fresh: bool = False) -> Exported:
    """Lower, verify and bundle the artifacts of `targets` (of the recipe's when empty) from a finished distillation.

    The bundles go to `out`, by default `bundles` in the run. With `fresh` files that were lowered before from the same programs are
    lowered again.
    """
    require("export", "report")
    with opened(open_run, run_dir) as run:
        recipe = _recipe(run)
        targets = list(targets) or recipe.targets
        out = run.path("bundles") if out is None else Path(out)
        check_bundles(out, targets)
        target_specs = wanted(recipe, targets)
        # Together with the artifacts of earlier targets, which stay in the run and stay verified.
        specs = lowering.lower(run, recipe, list(dict.fromkeys([*lowering.lowered(run), *target_specs])), again=fresh)
        execute(run, recipe, specs, "val")
        trials.make(run, recipe, specs)
        divergence.locate(run, recipe, specs)
        delegation.examine(run, recipe, specs, targets, keep=True)
        ranges.scan(run, specs)
        summary = write_outcome(run, targets=targets, out=out)
    from edgedistill.records.documents import Exported
    from edgedistill.verify import judge

    names = {s.name for s in target_specs}
    asked = delegation.of_targets([a for a in summary.artifacts if a.name in names], targets)
    missing = [file for file in summary.not_lowered if file.name in names]
    return Exported(
        run=summary.run,
        status=judge.status_of(asked, missing=missing),
        metric=summary.metric,
        artifacts=asked,
        not_lowered=missing,
        ranges=summary.ranges,
        bundles=summary.bundles,
    )


def export_model(
    loaded: LoadedRecipe, runs_dir: AnyPath = RUNS, targets: Sequence[str] = (), out: AnyPath | None = None, *, fresh: bool = False
) -> Exported:
    """Do the whole flow for a trained model, see `tasks.user_model`; returns what `export` does, for the run that holds it all."""
    run(loaded, runs_dir, fresh=fresh)
    return export(Path(runs_dir) / loaded.recipe.name, targets, out)


def verify(run_dir: AnyPath) -> Verified:
    """Execute every artifact of a run on val again and hold it against the quantized state.

    Of a run that cannot be written, the report and the bundles stay as they are.
    """
    require("export", "report")
    with opened(read_run, run_dir) as run:
        execute(run, _recipe(run), _artifacts(run), "val", again=True)
        trials.make(run, _recipe(run), _artifacts(run), again=True)
        divergence.locate(run, _recipe(run), _artifacts(run))
        delegation.examine(run, _recipe(run), _artifacts(run), [], keep=True, again=True)
        ranges.scan(run, _artifacts(run))
        summary = write_outcome(run)
    from edgedistill.records.documents import Verified

    return Verified(**{name: getattr(summary, name) for name in Verified.model_fields})


def verify_file(path: AnyPath, run_dir: AnyPath) -> VerifiedFile:
    """Execute a model file from elsewhere on the val samples of a run and hold it against the run's program of its precision."""
    with opened(read_run, run_dir) as run:
        return verify_external.verify(run, _recipe(run), Path(path))


def bench(run_dir: AnyPath) -> Benched:
    """Measure every artifact of a run on this machine again."""
    require("train", "report")
    with opened(open_run, run_dir) as run:
        execute(run, _recipe(run), _artifacts(run), "bench", again=True)
        summary = write_outcome(run)
    from edgedistill.records.documents import Benched

    return Benched(**{name: getattr(summary, name) for name in Benched.model_fields})


def bench_file(path: AnyPath) -> BenchedFile:
    """Measure one model file on this machine."""
    return benchfile.bench(Path(path))


def bench_on(
    run_or_file: AnyPath, device: str, protocol: harness.Protocol, *, save: str | None = None, against: str | None = None,
    runner: str | None = None, runner_kind: str | None = None, runner_arg: Sequence[str] = (), app: str | None = None,
) -> DeviceBench:  # fmt: skip
    """Measure a run's artifacts, or one model file, on a device under a protocol, and store the measurements in the project folder.

    save: a name under which they are found again; against: one that was given before; runner: a program of the user's own, see
    `own_runner`; app: one on the phone that measures the file itself, see `app_runner`. Each measurement has a `regression` where it was
    held to an earlier one.
    """
    from edgedistill.backends import of_suffix
    from edgedistill.measure.devices import open_device
    from edgedistill.records.measurements import Regression
    from edgedistill.records.stored import DeviceBench

    run_or_file = Path(run_or_file)
    if is_run(run_or_file):
        require("report")
    if app is None:
        # A mistake in the device is told before anything is computed.
        open_device(device)
    elif runner is not None or (run_or_file.is_dir() and of_suffix(run_or_file) is None):
        raise UserError(f"found --app with {f'--runner {runner}' if runner else run_or_file}, expected one model file of the app's bundle")
    with ExitStack() as stack:
        if app is not None:
            measurements = [app_runner.bench_app(app, run_or_file, device, protocol, save=save)]
        elif runner is not None:
            if run_or_file.is_dir():
                raise UserError(f"found --runner with the run {run_or_file}, expected a model file with it")
            measurements = [own_runner.bench_with(runner, run_or_file, device, protocol, kind=runner_kind, extra=runner_arg, save=save)]
        elif run_or_file.is_dir():
            run = stack.enter_context(opened(open_run, run_or_file))
            measurements = harness.bench(stack.enter_context(harness.of_run(run)), device, protocol, save=save)
            harness.keep(run, device, measurements)
            write_outcome(run)
        else:
            measurements = harness.bench(stack.enter_context(harness.of_file(run_or_file)), device, protocol, save=save)
    if against is not None:
        measurements = [harness.held_against(measurement, against) for measurement in measurements]
    regressions = [measurement.regression for measurement in measurements]
    status: Status = "ok"
    if any(isinstance(regression, Regression) and regression.verdict == "regression" for regression in regressions):
        status = "check_failed"
    if any(measurement.id is None for measurement in measurements):
        status = "runtime_failed"
    return DeviceBench(device=device, status=status, measurements=measurements)


def report(run_dir: AnyPath) -> Path:
    """Write the report of a run again from its records; that of a run that cannot be written goes into this folder."""
    require("report")
    with opened(read_run, run_dir) as run:
        recorded(run.folder)
        run.made("data")
        if run.borrowed:
            return Path(write_outcome(run, report=_beside(run.shown)).report)
        run.path("report.html").unlink(missing_ok=True)
        return Path(write_outcome(run).report)


def _beside(run_dir: Path) -> Path:
    """A name in this folder that nothing has, for the report of a run."""
    names = [f"{run_dir.resolve().name}-report{number}.html" for number in ("", *(f"-{n}" for n in range(2, 1000)))]
    return next(Path(name) for name in names if not Path(name).exists())


def _recipe(run: Run) -> Recipe:
    if "programs" not in run.steps():
        raise UserError(f"{run.shown} has no quantized state; go on with `edgedistill run` of its recipe")
    # Of what is held to a state that is damaged nothing would be true.
    run.check("programs")
    return recorded(run.folder)


def _artifacts(run: Run) -> list[ArtifactSpec]:
    specs = lowering.lowered(run)
    if not specs:
        raise UserError(f"{run.shown} has no artifacts; make them with `edgedistill export {run.shown}`")
    return specs
