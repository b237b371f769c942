"""What a run leaves behind: summary, bundles and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import DamagedFile, UserError
from edgedistill.files import read_json, write_json
from edgedistill.progress import log
from edgedistill.run import Run
from edgedistill.steps.wanted import files_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from edgedistill.bundle.write import Contents, Sampled
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactResult
    from edgedistill.records.manifest import Ship
    from edgedistill.records.summary import Summary


def write_outcome(run: Run, *, targets: list[str] | None = None, out: Path | None = None, report: Path | None = None) -> Summary:
    """Write the summary, the bundles of `targets` and the report from what is done.

    Of a borrowed run only `report` is written, where it is given.
    """
    from edgedistill.measure.runner.facts import machine
    from edgedistill.report import write_report
    from edgedistill.report.summary import summarize

    summary = summarize(run, machine() | {"packages": _versions()})
    if run.borrowed:
        log(f"{run.shown} can't be written: its summary, report and bundles stay as they are")
        if report is not None:
            summary.report = str(report)
            write_report(summary, report)
        return summary
    names = targets or summary.recipe.effective["targets"]
    summary.ship = shipped(summary, names)  # type: ignore[arg-type]
    summary.bundles = write_bundles(run, summary, names, out or run.path("bundles"))  # type: ignore[arg-type]
    for folder in summary.bundles.values():
        if Path(f"{folder}.zip").exists():
            log(f"{folder}.zip stays as it was and may be older than {folder}; `edgedistill bundle {run.shown}` writes it again")
    before, page = run.path("summary.json"), run.path("report.html")
    if not (page.exists() and before.exists() and _same(before, summary)):
        write_json(before, summary.model_dump(mode="json"))
        write_report(summary, page)
    return summary


def check_bundles(out: Path, targets: list[str]) -> None:
    """Raise UserError where the bundle of a target cannot be written to `out`: at once, and not after minutes of work."""
    from edgedistill.bundle.folder import check
    from edgedistill.recipe.targets import load_target

    for target in targets:
        check(out / load_target(target).name)


def clear_bundles(out: Path) -> None:
    """Remove the bundles in `out`, so that none stands for files that are made anew; what else is there stays."""
    from contextlib import suppress

    from edgedistill.bundle.folder import remove

    for folder in out.iterdir() if out.is_dir() else ():
        with suppress(UserError):
            remove(folder)


def _same(before: Path, now: Summary) -> bool:
    """Whether two summaries tell the same but for when they were written: then their reports do, and drawing one takes a second."""
    try:
        return {**read_json(before), "created": None} == now.model_dump(mode="json") | {"created": None}
    except (DamagedFile, TypeError):
        return False


def recipe_of(summary: Summary) -> Recipe:
    """The recipe that a run followed."""
    from edgedistill.recipe.schema import Recipe

    return Recipe.model_validate(summary.recipe.effective)


def shipped(summary: Summary, targets: list[str]) -> dict[str, Ship]:
    """Which artifact of each target to ship, by the name of the target."""
    from edgedistill.bundle.ship import ship
    from edgedistill.recipe.targets import load_target

    recipe = recipe_of(summary)
    known, failed = {a.name: a for a in summary.artifacts}, {file.name: file.reason for file in summary.not_lowered}
    chosen = {}
    for target in map(load_target, targets):
        names = [spec.name for spec in files_of(target.artifacts, recipe)]
        absent = {name: failed.get(name, "nobody asked for it yet").rstrip(".") for name in names if name not in known}
        chosen[target.name] = ship([known[name] for name in names if name in known], summary.metric, absent)
    return chosen


def write_bundles(run: Run, summary: Summary, targets: list[str], out: Path, key: Ed25519PrivateKey | None = None) -> dict[str, str]:
    """Write the bundle of each target whose artifacts are all verified, but for those that nothing on this machine can execute.

    Returns the folder of each by the name of its target. key: signs them.
    """
    from edgedistill.bundle.folder import remove
    from edgedistill.bundle.write import write_bundle
    from edgedistill.recipe.targets import load_target
    from edgedistill.report.artifacts import execution

    def waits(name: str) -> bool:
        ran = execution(run, "val", name)
        return ran is not None and ran.unavailable is not None

    recipe, written = recipe_of(summary), {}
    ready = {a.name: a for a in summary.artifacts if a.ok or waits(a.name)}
    for target in map(load_target, targets):
        names = [spec.name for spec in files_of(target.artifacts, recipe)]
        folder = out / target.name
        if missing := [name for name in names if name not in ready]:
            log(f"no bundle for {target.name}: not verified are {', '.join(missing)}")
            remove(folder)
            continue
        write_bundle(folder, target, _contents(run, summary, target.name, [ready[name] for name in names]), key)
        written[target.name] = str(folder)
    return written


def _contents(run: Run, summary: Summary, target: str, artifacts: list[ArtifactResult]) -> Contents:
    """What the bundle of the artifacts of a target is made of."""
    from edgedistill import tasks
    from edgedistill.bundle.write import Contents
    from edgedistill.export.programs import load_signature
    from edgedistill.gate import card
    from edgedistill.records import Unavailable
    from edgedistill.records.manifest import Licenses, ModelFacts
    from edgedistill.steps.execute import method_of
    from edgedistill.steps.watched import watched
    from edgedistill.verify import stored

    assert summary.state is not None
    recipe = recipe_of(summary)
    task, signature = tasks.task(recipe.task), load_signature(run.work("programs", "student-float.pt2"))
    licenses = recipe.licenses
    unsaid = {kind: Unavailable(unavailable=f"the recipe does not say it (licenses.{kind})") for kind in ("data", "teacher")}
    return Contents(
        name=summary.name,
        task=task.name,
        run=run.folder,
        artifacts=artifacts,
        methods={a.name: method_of(run, a) for a in artifacts},
        model=ModelFacts(
            name=summary.ladder[-1].model,
            state_sha256=summary.state.sha256,
            output_scale=summary.state.output_scale,
            temperature=summary.state.temperature or {},
        ),
        signature=signature,
        preprocessing=task.preprocessing(recipe, task.facts.model_validate(run.made("data")), signature, run.work("data")),
        golden={a.name: _golden(run, a) for a in artifacts},
        scales={a.name: stored.scales(run, a) for a in artifacts},
        ship=summary.ship[target],
        licenses=Licenses(code=licenses.code, data=licenses.data or unsaid["data"], teacher=licenses.teacher or unsaid["teacher"]),
        versions=_made_with(run, artifacts),
        entries=watched(run, recipe, artifacts),
        release_card=card.files_of(run.folder, {a.name: a.sha256 for a in artifacts}),
    )


def _golden(run: Run, artifact: ArtifactResult) -> Sampled:
    """Samples of val, spread evenly over those of the largest size that an artifact takes, and what it gave for them."""
    import numpy as np

    from edgedistill.bundle.write import GOLDEN, Sampled
    from edgedistill.export.programs import load_signature
    from edgedistill.measure.inputs import cut
    from edgedistill.tasks.data import spread
    from edgedistill.verify import stored

    samples, given = stored.samples(run, "val"), stored.outputs(run, artifact.name, "val")
    parts = stored.parts(run, artifact.spec, "val")
    sizes, places = parts[-1] if parts else (artifact.sizes or {}, np.arange(0))
    if places is None:
        sizes, places = {}, np.arange(len(next(iter(samples.values()))))
    places = places[spread(len(places), GOLDEN)]
    taken = stored.places(run, artifact.name, "val")
    rows = places if taken is None else np.searchsorted(taken, places)
    method = load_signature(run.work(artifact.program)).forward.with_sizes(sizes)
    return Sampled(
        samples={name: cut(values[places], method.input(name)) for name, values in samples.items()},
        outputs=None if given is None else {name: values[rows] for name, values in given.items()},
        sizes=sizes,
    )


def _made_with(run: Run, artifacts: list[ArtifactResult]) -> dict[str, str]:
    """Versions of the packages that trained the student, quantized it and made `artifacts`; others may be installed now."""
    programs = [artifact.program.partition("/")[0] for artifact in artifacts]
    versions: dict[str, str] = {}
    for step in dict.fromkeys(["student", "qat", "programs", *programs, *(f"export-{artifact.format}" for artifact in artifacts)]):
        versions |= run.versions(step)
    return versions


def _versions() -> dict[str, str]:
    """Versions of the packages that a run and the backends use."""
    from edgedistill.backends import backends
    from edgedistill.packages import installed

    used = [name for own in backends().values() for name in (*own.packages, *(adapter.package for adapter in own.adapters[:1]))]
    names = dict.fromkeys(("edgedistill", "torch", "torchvision", "timm", *used, "numpy"))
    return installed(names) | {name: "not installed" for name in names if name not in installed(names)}
