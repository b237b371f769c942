"""Writes a table or a folder of images without personal data."""

from __future__ import annotations

from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.files import write_bytes
from edgedistill.progress import track
from edgedistill.recipe.scrub import Scrub
from edgedistill.records.scrub import Scrubbed
from edgedistill.teach.scrub import images, tables
from edgedistill.teach.scrub.scrubbing import NotScanned, Scrubbing
from edgedistill.teach.scrub.tables import Rows

AnyPath = str | Path


def scrub(source: AnyPath, out: AnyPath, *, config: Scrub | None = None, keep: list[str] | None = None) -> Scrubbed:
    """Write the table or the folder of images `source` without personal data to `out`.

    config: how texts are read. keep: columns that stay as they are. What cannot be read is not written, and counted. Raises UserError
    where `out` exists for a folder, or is `source`.
    """
    source, out, config = Path(source).expanduser(), Path(out).expanduser(), config or Scrub()
    if not source.exists():
        raise UserError(f"no such file or folder: {source}")
    if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
        raise UserError(f"{out}: found a place in what is read, expected another one")
    if source.is_dir():
        return _document(source, out, _folder(source, out))
    scrubbing = Scrubbing(config)
    return _document(source, out, tables.scrub_table(source, out, scrubbing, keep or []), scrubbing, config.engine)


def _folder(source: Path, out: Path) -> Rows:
    if out.exists():
        raise UserError(f"{out} exists, expected a new folder; name another one, or remove it")
    rows, files = Rows(), sorted(path for path in source.rglob("*") if path.is_file())
    with track("images", len(files)) as progress:
        for file in files:
            rows.read += 1
            place = out / file.relative_to(source)
            try:
                if file.suffix.lower() not in images.SUFFIXES:
                    raise NotScanned(f"format {file.suffix.lower() or 'without a suffix'}")
                data = file.read_bytes()
                clean = images.without_metadata(data)
            except NotScanned as error:
                rows.dropped[str(error)] += 1
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(place, clean)
                rows.changed += clean != data
            progress.advance(1)
    return rows


def _document(source: Path, out: Path, rows: Rows, scrubbing: Scrubbing | None = None, engine: str | None = None) -> Scrubbed:
    return Scrubbed(
        source=str(source), out=str(out), engine=engine, rows=rows.read, changed=rows.changed, dropped=dict(sorted(rows.dropped.items())),
        texts=scrubbing.texts if scrubbing else 0, found=dict(sorted(scrubbing.found.items())) if scrubbing else {},
        values=dict(sorted(scrubbing.values.items())) if scrubbing else {},
    )  # fmt: skip
