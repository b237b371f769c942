"""Compares two files of texts, or two folders of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import UserError
from edgedistill.records.leakage import LeakageDocument

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.tasks.text.tables import FileTable
    from edgedistill.teach.leakage.watch import Kind, Parts

_USUAL = ("text", "prompt")
_IMAGES = 64
"""Images that are in memory at once."""


def leakage(train: str | Path, holdout: str | Path, columns: Sequence[str] = ()) -> LeakageDocument:
    """Which samples of `train` are the same, nearly the same, or a part of one in `holdout`.

    Both are .jsonl, .csv or .parquet files of texts, or folders of images. columns: what is compared of texts, joined by line breaks; by
    default the column text, or else prompt. Raises UserError for what cannot be read.
    """
    from edgedistill.teach.leakage.watch import overlap

    (kind, samples, names), (other, kept, _) = (_samples(Path(path), columns) for path in (train, holdout))
    if kind != other:
        raise UserError(f"found {kind} in {train} and {other} in {holdout}, expected two sets of one kind")
    found, _ = overlap(kind, samples, kept, math.inf)
    status = "check_failed" if found.same or found.near or found.part else "ok"
    return LeakageDocument(status=status, train=str(train), holdout=str(holdout), kind=kind, columns=names, overlap=found)


def _samples(path: Path, columns: Sequence[str]) -> tuple[Kind, Parts, list[str]]:
    """What is compared, what gives it, and the columns it comes from."""
    if path.is_dir():
        if columns:
            raise UserError(f"found --column with {path}, a folder of images; expected it with a table of texts")
        return "images", lambda: _images(path), []
    if not path.is_file():
        raise UserError(f"found no file or folder {path}, expected a .jsonl, .csv or .parquet file, or a folder of images")
    table = _table(path)
    names = list(columns) or [name for name in _USUAL if name in table.columns][:1]
    if not names:
        raise UserError(f"{path}: found the columns {', '.join(table.columns)}, expected text or prompt; name another by --column")
    return "texts", lambda: (["\n".join(value or "" for value in row) for row in part] for part in table.parts(names)), names


def _table(path: Path) -> FileTable:
    from edgedistill.tasks.text import tables
    from edgedistill.tasks.text.recipe import SOURCES

    suffixes = path.suffixes[:-1] if path.suffix == ".gz" else path.suffixes
    kind = suffixes[-1].lstrip(".") if suffixes else ""
    if kind not in ("jsonl", "csv", "parquet"):
        raise UserError(f"found {path}, expected a .jsonl, .csv or .parquet file, or a folder of images")
    return tables.table(SOURCES[kind].model_validate({kind: path}))  # type: ignore[arg-type, return-value]


def _images(folder: Path) -> Iterator[list[np.ndarray[Any, Any]]]:
    import numpy as np

    from edgedistill.tasks.image_classification.sources import paths_in

    paths, broken = paths_in(folder, str(folder)), []
    for start in range(0, len(paths), _IMAGES):
        part = []
        for number in range(start, min(start + _IMAGES, len(paths))):
            try:
                part.append(np.asarray(paths.read(number)))
            except (OSError, ValueError) as error:
                broken.append(f"{paths[number]}: {error}")
        if broken:
            raise UserError(f"{len(broken)} unreadable image(s): {'; '.join(broken[:10])}. Repair or remove them.")
        yield part
