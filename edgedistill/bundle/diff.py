"""What changes from one bundle to another, and what an app has to do for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from edgedistill.bundle.check import read_manifest
from edgedistill.bundle.opened import opened
from edgedistill.records.documents import BundleChange, ComparedBundles
from edgedistill.records.manifest import Manifest

_KNOWN = {
    "task": "The glue code is that of another task: take that of the new bundle.",
    "preprocessing": "Glue code of edgedistill follows the manifest; code of your own has to do as it says now.",
}
"""What an app has to do where a part of the manifest changes."""
_IGNORED = {"schema", "files", "artifacts", "versions", "name", "model"}
"""What changes with every model, or is compared artifact by artifact."""
_GOLDEN = "golden_"
"""How entries with examples for self-tests are called, which change with every model too."""
_NOTHING = {"target", "ship", "licenses", "router", "reference"}
"""Parts that tell people something and code nothing, or that glue code follows as they are."""


def diff_bundles(a: Path, b: Path) -> ComparedBundles:
    """Compare two bundles, folders or .zip files. Raises UserError where one has no manifest that this version reads."""
    with opened(a) as first, opened(b) as second:
        changes = list(_changes(read_manifest(first), read_manifest(second)))
    return ComparedBundles(a=str(a), b=str(b), replaceable=not any(change.app for change in changes), changes=changes)


def _changes(a: Manifest, b: Manifest) -> Iterator[BundleChange]:
    # Which file to ship is an order; its reasons hold figures of the artifacts.
    before, after = ({**m.model_dump(mode="json"), "ship": {"order": list[JsonValue](m.ship.order)}} for m in (a, b))
    for part in dict.fromkeys([*before, *after]):
        old, new = before.get(part), after.get(part)
        if part in _IGNORED or part.startswith(_GOLDEN) or old == new:
            continue
        for path, x, y in _parts(part, old, new):
            # Entries that a task adds, such as names of what a model tells apart, are part of what an app shows.
            other = f"Code that uses `{part}` of the manifest has to follow it: take the glue code of the new bundle."
            yield BundleChange(part=path, before=x, after=y, app=None if part in _NOTHING else _KNOWN.get(part, other))
    yield from _artifacts(a, b)


def _parts(path: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    """The smallest parts of two JSON values that differ, by their path."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            if a.get(key) != b.get(key):
                yield from _parts(f"{path}.{key}", a.get(key), b.get(key))
    else:
        yield path, a, b


def _artifacts(a: Manifest, b: Manifest) -> Iterator[BundleChange]:
    before, after = ({entry.name: entry for entry in manifest.artifacts} for manifest in (a, b))
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old is None:
            yield BundleChange(part=name, before=None, after="added", app=None)
        elif new is None:
            yield BundleChange(part=name, before="there", after=None, app=f"An app that names {name} has to name another artifact.")
        else:
            if old.signature != new.signature:
                ports: list[list[JsonValue]] = [
                    [str(spec) for spec in (*entry.signature.inputs, *entry.signature.outputs)] for entry in (old, new)
                ]
                yield BundleChange(
                    part=f"{name}: signature", before=ports[0], after=ports[1], app="The code has to give and take other tensors."
                )
            for runtime in dict.fromkeys([*old.minimum_runtime, *new.minimum_runtime]):
                versions = old.minimum_runtime.get(runtime), new.minimum_runtime.get(runtime)
                if versions[0] != versions[1]:
                    app = f"The app needs {runtime} {versions[1]} or later." if versions[1] else None
                    yield BundleChange(part=f"{name}: {runtime}", before=versions[0], after=versions[1], app=app)
            if old.minimum_os != new.minimum_os:
                app = "The app needs a newer system, or another artifact on older ones."
                yield BundleChange(part=f"{name}: system", before=dict(old.minimum_os), after=dict(new.minimum_os), app=app)
            if old.sha256 != new.sha256:
                yield BundleChange(part=f"{name}: bytes", before=old.bytes, after=new.bytes, app=None)
