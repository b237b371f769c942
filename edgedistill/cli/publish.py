"""The command publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.output import finish

if TYPE_CHECKING:
    from edgedistill.records.documents import Published


def publish(archive: Path | None, to: Path, options: dict[str, Any], *, as_json: bool) -> None:
    """Add a bundle to a repository of updates, or change a release of it."""

    def work() -> Published:
        from edgedistill.steps.publish import publish

        return publish(archive, to, **options)

    finish(as_json, work, _show)


def _show(document: Published) -> None:
    index = document.index
    print(f"{document.repository}: {index.name} for {index.target}, serial {index.serial}{', signed' if document.signed else ''}")
    for release in index.releases:
        state = "withdrawn" if release.withdrawn else f"{release.percent:g}% of the installations"
        app = f", app {release.minimum_app} or later" if release.minimum_app else ""
        deltas = "".join(f", delta {delta.bytes / 2**20:.2f} MiB" for delta in release.deltas[-1:])
        print(f"  release {release.number}: {state}, {release.bytes / 2**20:.1f} MiB{deltas}{app}")
