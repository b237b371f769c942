"""The folder of a bundle: only what edgedistill wrote there is ever replaced or removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from edgedistill import storage
from edgedistill.errors import UserError
from edgedistill.files import read_json
from edgedistill.records.manifest import MANIFEST, MANIFEST_FILE, SIGNATURE_FILE

_OURS = ("edgedistill/manifest/2", MANIFEST)
"""Schemas of bundles that are replaced; older ones had another list of files."""
_SHOWN = 3


def check(folder: Path) -> None:
    """Raise UserError unless a bundle can be written to `folder`: nothing is there, or a bundle and nothing else. StorageFailed where
    nothing can be written."""
    if folder.is_symlink():
        raise UserError(f"{folder} is a link, and a bundle would replace it; remove it, or choose another --out")
    if folder.is_dir():
        if foreign := sorted(_files(folder) - _listed(folder)):
            more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
            raise UserError(
                f"{folder} holds {', '.join(foreign[:_SHOWN])}{more}, which edgedistill did not write; move that, or choose another --out"
            )
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if failure := storage.failure_of(error, folder):
            raise failure from error
        raise UserError(f"{folder} cannot be made ({error.strerror}); choose another --out") from error
    if folder.exists():
        raise UserError(f"{folder} is a file, expected a folder; move it, or choose another --out")


def remove(folder: Path) -> None:
    """Remove an older bundle; UserError when `folder` holds anything else."""
    check(folder)
    if not folder.is_dir():
        return
    for name in _files(folder):
        (folder / name).unlink()
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        inner.rmdir()
    folder.rmdir()


def _files(folder: Path) -> set[str]:
    """Everything in `folder` but its folders, as paths within it; what a link leads to does not count."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def _listed(folder: Path) -> set[str]:
    """What the manifest in `folder` says was written there; nothing without a manifest that we know."""
    try:
        manifest = read_json(folder / MANIFEST_FILE)
        ours = manifest["schema"] in _OURS
        files = set(manifest["files"] if "files" in manifest else _named(folder, manifest)) if ours else set()
        files = {name for name in files if isinstance(name, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Not one of ours, or damaged.
        return set()
    return {MANIFEST_FILE, SIGNATURE_FILE, *(name for name in files if ".." not in PurePosixPath(name).parts)} if ours else set()


def _named(folder: Path, manifest: Any) -> Iterator[str]:
    """The files that a manifest names which has no list of them, as the first ones of this schema: by `path`, and each artifact."""
    if isinstance(manifest, dict):
        if isinstance(manifest.get("path"), str):
            yield manifest["path"]
        if isinstance(name := manifest.get("name"), str) and "sha256" in manifest:
            artifact = folder / name
            yield from ([f"{name}/{file}" for file in _files(artifact)] if artifact.is_dir() else [name])
    for value in manifest.values() if isinstance(manifest, dict) else manifest if isinstance(manifest, list) else ():
        yield from _named(folder, value)
