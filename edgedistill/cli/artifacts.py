"""The commands that take a finished run: export, verify, bench, report."""

from pathlib import Path
from typing import Any

from edgedistill.cli.output import finish
from edgedistill.cli.tables import show_artifacts
from edgedistill.errors import UserError


def _folder(run_folder: Path | None, runs_dir: Path) -> Path:
    from edgedistill import pipeline

    return run_folder if run_folder is not None else pipeline.newest_run(runs_dir)


def export(run_folder: Path | None, targets: list[str], out: Path | None, runs_dir: Path, *, as_json: bool) -> None:
    """Lower, prove and bundle."""

    def work() -> dict[str, Any]:
        from edgedistill import pipeline
        from edgedistill.recipe.targets import load_target

        for name in targets:
            load_target(name)
        return pipeline.export(_folder(run_folder, runs_dir), targets, out)

    finish(as_json, work, show_artifacts)


def verify(run_folder: Path | None, runs_dir: Path, *, as_json: bool) -> None:
    """Prove again."""

    def work() -> dict[str, Any]:
        from edgedistill import pipeline

        return pipeline.verify(_folder(run_folder, runs_dir))

    finish(as_json, work, show_artifacts)


def bench(run_folder: Path | None, runs_dir: Path, *, device: str, as_json: bool) -> None:
    """Measure again."""

    def work() -> dict[str, Any]:
        check_device(device)
        from edgedistill import pipeline

        return pipeline.bench(_folder(run_folder, runs_dir))

    finish(as_json, work, show_artifacts)


def report(run_folder: Path | None, runs_dir: Path, *, open_it: bool, as_json: bool) -> None:
    """Write the report again."""

    def work() -> dict[str, Any]:
        from edgedistill import pipeline

        path = pipeline.report(_folder(run_folder, runs_dir))
        if open_it:
            import webbrowser

            webbrowser.open(path.resolve().as_uri())
        return {"report": str(path)}

    finish(as_json, work, lambda document: print(document["report"]))


def check_device(device: str) -> None:
    """UserError for a device that this version can't measure on."""
    if device != "local":
        raise UserError(f"found device '{device}', expected local: this version measures on this machine only")
