"""A bundle as one .zip: the same files give the same bytes."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.files import replacing

_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def write_archive(folder: Path, file: Path) -> Path:
    """Write the files of `folder` to `file`, stored as they are: weights hardly shrink, and what packs them differs between machines.

    Raises UserError where `file` is something else than a .zip file.
    """
    if file.is_symlink() or (file.exists() and not (file.is_file() and zipfile.is_zipfile(file))):
        raise UserError(f"{file} is no .zip file, and the bundle would replace it; move it, or choose another --out")
    with replacing(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
            # As on a Unix system, whatever this one is.
            name.create_system, name.external_attr, name.file_size = 3, _MODE, path.stat().st_size
            with path.open("rb") as source, archive.open(name, "w") as target:
                shutil.copyfileobj(source, target, 2**20)
    return file


def packed_files(archive: Path) -> list[str]:
    """The files of a .zip that are compressed."""
    with zipfile.ZipFile(archive) as opened:
        return [entry.filename for entry in opened.infolist() if entry.compress_type != zipfile.ZIP_STORED]
