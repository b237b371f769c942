"""What a run leaves behind: summary, bundles and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.files import read_json, write_json
from edgedistill.progress import log
from edgedistill.run import Run

if TYPE_CHECKING:
    from edgedistill.records import ArtifactResult
    from edgedistill.records.summary import Summary


def write_outcome(run: Run, *, targets: list[str] | None = None, out: Path | None = None) -> Summary:
    """Write the summary, the bundles of `targets` and the report from what is done."""
    from edgedistill.measure.runner.facts import machine
    from edgedistill.report import write_report
    from edgedistill.report.summary import summarize

    summary = summarize(run, machine() | {"packages": _versions()})
    wanted = targets or summary.recipe.effective["targets"]
    summary.bundles = _bundles(run, summary, wanted, out or run.path("bundles"))  # type: ignore[arg-type]
    before, report = run.path("summary.json"), run.path("report.html")
    if not (report.exists() and before.exists() and _same(before, summary)):
        write_json(before, summary.model_dump(mode="json"))
        write_report(summary, report)
    return summary


def _same(before: Path, now: Summary) -> bool:
    """Whether two summaries tell the same but for when they were written: then their reports do, and drawing one takes a second."""
    return read_json(before) | {"created": None} == now.model_dump(mode="json") | {"created": None}


def _bundles(run: Run, summary: Summary, targets: list[str], out: Path) -> dict[str, str]:
    """Write the bundle of each target whose artifacts are all verified, but for those that nothing on this machine can execute."""
    import numpy as np

    from edgedistill.bundle.write import GOLDEN, remove_bundle, write_bundle
    from edgedistill.recipe.schema import Recipe
    from edgedistill.recipe.targets import load_target
    from edgedistill.report.artifacts import execution
    from edgedistill.report.summary import golden

    def waits(name: str) -> bool:
        ran = execution(run, "val", name)
        return ran is not None and ran.unavailable is not None

    ready = {a.name: a for a in summary.artifacts if a.ok or waits(a.name)}
    data, written = Recipe.model_validate(summary.recipe.effective).data, {}
    for target in map(load_target, targets):
        wanted = [a.spec.name for a in target.artifacts]
        folder = out / target.name
        if missing := [name for name in wanted if name not in ready]:
            log(f"no bundle for {target.name}: not verified are {', '.join(missing)}")
            remove_bundle(folder)
            continue
        chosen = [ready[name] for name in wanted]
        images, outputs = golden(run, chosen, GOLDEN)
        count = np.load(run.work("programs", "student.npy"), mmap_mode="r").shape[1]
        assert summary.state is not None
        model = {
            "name": summary.ladder[-1].model, "versions": _made_with(run, chosen),
            # Outputs that no folder of images names have their numbers.
            "classes": summary.data["classes"] or [str(number) for number in range(count)],
            **{key: getattr(data, key) for key in ("image_size", "mean", "std")},
            "state_sha256": summary.state.sha256, "output_scale": summary.state.output_scale["logits"],
        }  # fmt: skip
        write_bundle(folder, target=target.model_dump(), artifacts=chosen, run=run.folder, model=model, images=images, outputs=outputs)
        written[target.name] = str(folder)
    return written


def _made_with(run: Run, artifacts: list[ArtifactResult]) -> dict[str, str]:
    """Versions of the packages that trained the student, quantized it and made `artifacts`; others may be installed now."""
    programs = [artifact.program.partition("/")[0] for artifact in artifacts]
    found: dict[str, str] = {}
    for step in dict.fromkeys(["student", "qat", "programs", *programs, *(f"export-{artifact.format}" for artifact in artifacts)]):
        found |= run.versions(step)
    return found


def _versions() -> dict[str, str]:
    """Versions of the packages that a run and the backends use."""
    from edgedistill.backends import backends
    from edgedistill.packages import installed

    used = [name for own in backends().values() for name in (*own.packages, *(adapter.package for adapter in own.adapters[:1]))]
    names = dict.fromkeys(("edgedistill", "torch", "torchvision", "timm", *used, "numpy"))
    return installed(names) | {name: "not installed" for name in names if name not in installed(names)}
