"""Bundles of a finished run, as folders and .zip files; and what can be said of bundles from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.packages import require
from edgedistill.runs import read_run
from edgedistill.steps.opening import opened, summary_of
from edgedistill.steps.report import check_bundles, recipe_of, shipped, write_bundles
from edgedistill.steps.wanted import files_of

if TYPE_CHECKING:
    from edgedistill.records.documents import Bundled, CheckedBundle, ComparedBundles

AnyPath = str | Path


def bundle(run_dir: AnyPath, targets: Sequence[str] = (), out: AnyPath | None = None, *, key: AnyPath | None = None) -> Bundled:
    """Write the bundle of each target of a run, by default of the recipe's, as a folder and as a .zip file.

    Nothing is lowered or executed: the artifacts have to be verified. The same run gives the same bytes.

    out: folder for the bundles, by default `bundles` in the run. key: PEM file of an Ed25519 private key, which signs them.

    Raises UserError where an artifact of a target is not in the run, was not verified, or changed since.
    """
    from edgedistill.bundle.archive import write_archive
    from edgedistill.bundle.signing import private_key
    from edgedistill.files import sha256_file
    from edgedistill.recipe.targets import load_target
    from edgedistill.records.documents import Bundled

    if key is not None:
        require("publish")
    signed = None if key is None else private_key(Path(key))
    run_dir = Path(run_dir)
    with opened(read_run, run_dir) as run:
        summary = summary_of(run)
        names = list(targets) or list(map(str, summary.recipe.effective["targets"]))  # type: ignore[arg-type]
        folder = run_dir / "bundles" if out is None else Path(out)
        check_bundles(folder, names)
        known, asked = {a.name for a in summary.artifacts}, [load_target(name) for name in names]
        for target in asked:
            if missing := [spec.name for spec in files_of(target.artifacts, recipe_of(summary)) if spec.name not in known]:
                command = f"`edgedistill export {run.shown} --target {target.name}`"
                raise UserError(f"{run.shown} has no {', '.join(missing)}, which {target.name} needs; make it with {command}")
        summary.ship |= shipped(summary, names)
        written = write_bundles(run, summary, names, folder, signed)
        if refused := [target.name for target in asked if target.name not in written]:
            raise UserError(f"no bundle for {', '.join(refused)}: an artifact was not verified; `edgedistill verify {run.shown}` says why")
        archives = {name: write_archive(Path(path), Path(f"{path}.zip")) for name, path in written.items()}
        return Bundled(
            run=str(run.shown),
            bundles=written,
            archives={name: str(path) for name, path in archives.items()},
            sha256={name: sha256_file(path) for name, path in archives.items()},
            ship={name: summary.ship[name] for name in written},
        )


def check_bundle(path: AnyPath, *, public_key: AnyPath | None = None, runtimes: Mapping[str, str] | None = None) -> CheckedBundle:
    """Check every file and hash of a bundle, a folder or a .zip, and whether the parts of its manifest fit each other.

    public_key: PEM file of the Ed25519 key whose owner has to have signed it. runtimes: versions that an app has, by name.
    """
    from edgedistill.bundle.check import check_bundle
    from edgedistill.bundle.signing import public_key as read_key

    if public_key is not None:
        require("publish")
    return check_bundle(Path(path), key=None if public_key is None else read_key(Path(public_key)), runtimes=runtimes)


def diff_bundles(a: AnyPath, b: AnyPath) -> ComparedBundles:
    """Say what differs between two bundles, and what an app has to change for it."""
    from edgedistill.bundle.diff import diff_bundles

    return diff_bundles(Path(a), Path(b))
