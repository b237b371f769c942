"""The command scrub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish

if TYPE_CHECKING:
    from edgedistill.records.scrub import Scrubbed


def scrub(source: Path, out: Path, names: list[str], key: Path | None, keep: list[str], *, patterns: bool, as_json: bool) -> None:
    """Write a table or a folder of images without personal data."""

    def work() -> Scrubbed:
        from edgedistill.recipe.scrub import Scrub
        from edgedistill.steps.scrub import scrub

        config = Scrub(key=key)
        if patterns or names:
            config = config.model_copy(update={"names": [] if patterns else names})
        return scrub(source, out, config=config, keep=keep)

    finish(as_json, work, _show)


def _show(document: Scrubbed) -> None:
    what = "files" if document.engine is None else "rows"
    print(f"{document.out}: {document.rows:,} {what} of {document.source}, {document.changed:,} of them changed")
    for kind, count in document.found.items():
        print(f"  {kind}: {count:,} found, {document.values[kind]:,} different")
    for why, count in document.dropped.items():
        print(f"  left out, since not read: {count:,} ({why})")
