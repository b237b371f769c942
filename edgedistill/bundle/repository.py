"""A repository of updates: files that any static file server can serve."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.bundle.archive import packed_files
from edgedistill.bundle.check import check_bundle, read_manifest
from edgedistill.bundle.opened import opened
from edgedistill.errors import DamagedFile, UserError
from edgedistill.files import replacing, sha256_file, write_bytes
from edgedistill.records.manifest import Manifest
from edgedistill.records.updates import INDEX_FILE, INDEX_SIGNATURE, Delta, Index, Release

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_DELTAS = 3
"""Older releases that a new one has deltas of."""
_WORTH = 0.9
"""A delta is kept if it has less than this share of the bytes."""
_MOST = 2**30
"""A larger .zip has no deltas: a client needs both files in memory."""


def read_index(folder: Path) -> Index | None:
    """The index of the repository in `folder`; None for a folder that is empty or missing. Raises UserError for anything else."""
    if (folder / INDEX_FILE).is_file():
        try:
            return Index.read(folder / INDEX_FILE)
        except DamagedFile as error:
            raise UserError(f"{error}; restore it from a copy, or publish into another folder") from error
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is no repository of updates: it has no {INDEX_FILE}; name an empty folder, or a repository")
    return None


def publish(folder: Path, archive: Path, *, percent: float, minimum_app: str | None, key: Ed25519PrivateKey | None) -> Index:
    """Add the bundle in the .zip file `archive` as the newest release of the repository in `folder`.

    Files are written before the index names them, so that a client never misses one. Raises UserError where the bundle is wrong, or is
    that of another model or target.
    """
    if problems := check_bundle(archive).problems:
        raise UserError(f"{archive} is not published: {'; '.join(problems)}")
    if not archive.is_file():
        raise UserError(f"{archive} is a folder, expected the .zip that `edgedistill bundle` writes beside it")
    if packed := packed_files(archive):
        raise UserError(
            f"{archive} has {packed[0]} compressed, and clients unpack stored files only; take the .zip of `edgedistill bundle`"
        )
    with opened(archive) as bundle:
        manifest = read_manifest(bundle)
    index = read_index(folder)
    _check_same(folder, index, manifest)
    releases = [] if index is None else list(index.releases)
    digest = sha256_file(archive)
    if releases and releases[-1].sha256 == digest:
        raise UserError(f"{archive} is the newest release of {folder} already; change its share with `edgedistill publish --percent`")
    number = 1 + max((release.number for release in releases), default=0)
    file = f"bundles/{number}.zip"
    with replacing(folder / file) as temporary:
        shutil.copyfile(archive, temporary)
    deltas = [delta for old in releases[-_DELTAS:] if (delta := _delta(folder, old, file, number)) is not None]
    release = Release(
        number=number, file=file, sha256=digest, bytes=archive.stat().st_size, percent=percent, minimum_app=minimum_app, deltas=deltas
    )
    return _write(folder, manifest.name, manifest.target.name, index, [*releases, release], key)


def change(folder: Path, number: int | None, *, percent: float | None, withdrawn: bool, key: Ed25519PrivateKey | None) -> Index:
    """Change the share of a release, the newest by default, or withdraw it. Raises UserError where there is no such release."""
    index = read_index(folder)
    if index is None or not index.releases:
        raise UserError(f"{folder} has no releases yet; publish a bundle first")
    numbers = [release.number for release in index.releases]
    number = numbers[-1] if number is None else number
    if number not in numbers:
        raise UserError(f"{folder} has no release {number}, expected one of {', '.join(map(str, numbers))}")
    update = {"withdrawn": True} if withdrawn else {"percent": percent, "withdrawn": False}
    releases = [release.model_copy(update=update) if release.number == number else release for release in index.releases]
    return _write(folder, index.name, index.target, index, releases, key)


def _check_same(folder: Path, index: Index | None, manifest: Manifest) -> None:
    if index is not None and (index.name, index.target) != (manifest.name, manifest.target.name):
        found = f"{manifest.name} for {manifest.target.name}"
        raise UserError(f"{folder} has releases of {index.name} for {index.target}, found {found}; publish it into another folder")


def _write(folder: Path, name: str, target: str, before: Index | None, releases: Sequence[Release], key: Ed25519PrivateKey | None) -> Index:
    index = Index(serial=1 if before is None else before.serial + 1, name=name, target=target, releases=list(releases))
    data = (index.model_dump_json(indent=2) + "\n").encode()
    if key is not None:
        # A client that reads between the two writes sees a wrong signature, keeps what it has, and asks again later.
        write_bytes(folder / INDEX_SIGNATURE, key.sign(data))
    elif (folder / INDEX_SIGNATURE).exists():
        raise UserError(f"{folder} is signed, found no --sign KEY.pem; clients would refuse an index without a signature")
    write_bytes(folder / INDEX_FILE, data)
    return index


def _delta(folder: Path, old: Release, file: str, number: int) -> Delta | None:
    """What makes the new .zip of that of an old release; None where it would hardly be smaller."""
    import zstandard

    source, target = folder / old.file, folder / file
    if not source.is_file() or max(source.stat().st_size, target.stat().st_size) > _MOST:
        return None
    before, after = source.read_bytes(), target.read_bytes()
    prefix = zstandard.ZstdCompressionDict(before, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    # The window has to reach back over the whole prefix.
    window = max(10, (len(before) + len(after)).bit_length())
    parameters = zstandard.ZstdCompressionParameters.from_level(9, window_log=min(window, 31), enable_ldm=True, write_content_size=True)
    packed = zstandard.ZstdCompressor(dict_data=prefix, compression_params=parameters).compress(after)
    if len(packed) > _WORTH * len(after):
        return None
    path = f"deltas/{old.number}-{number}.zst"
    write_bytes(folder / path, packed)
    return Delta(base=old.sha256, file=path, sha256=sha256_file(folder / path), bytes=len(packed))
