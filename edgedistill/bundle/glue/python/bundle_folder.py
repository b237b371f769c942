"""Reads the folder of a bundle: its manifest, its files, their hashes and its signature."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from .errors import BundleError

SCHEMA = "edgedistill/manifest/3"
_CHUNK = 2**20


class Bundle:
    """A bundle on the disk.

    Args:
        folder: The folder that holds manifest.json.
        public_key: 32 bytes of an Ed25519 key. With it the bundle has to be signed (needs the package `cryptography`).

    Raises:
        BundleError: The manifest is missing, damaged, of another schema, or not signed by the key.
    """

    def __init__(self, folder: str | Path, public_key: bytes | None = None) -> None:
        self.folder = Path(folder)
        manifest = self.folder / "manifest.json"
        try:
            data = manifest.read_bytes()
        except OSError as error:
            raise BundleError(f"{manifest} can't be read ({error.strerror}), expected a bundle of edgedistill") from error
        if public_key is not None:
            _check_signature(self.folder / "manifest.sig", data, public_key)
        self.sha256 = hashlib.sha256(data).hexdigest()
        try:
            self.manifest: dict[str, Any] = json.loads(data)
            schema = self.manifest["schema"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BundleError(f"{manifest} is damaged, or it is something else; get the bundle again") from error
        _check_schema(schema)

    def path(self, name: str) -> Path:
        """The file or folder `name` of the bundle. Raises BundleError for a path that leads out of the bundle, or a missing file."""
        inner = PurePosixPath(name)
        if not name or inner.is_absolute() or ".." in inner.parts or "\\" in name or re.match(r"^[A-Za-z]:", name):
            raise BundleError(f"manifest.json names the path {name!r}, expected one within the bundle; get the bundle again")
        path = self.folder
        for part in inner.parts:
            path = path / part
            if path.is_symlink():
                raise BundleError(f"{path} is a link, expected a file of the bundle; get the bundle again")
        if not path.exists():
            raise BundleError(f"{path} is missing; get the bundle again")
        return path

    def checked(self, name: str) -> Path:
        """The file or folder `name`, after its files were compared with their hashes in the manifest."""
        path, files = self.path(name), self.manifest["files"]
        parts = [key for key in files if key == name or key.startswith(f"{name}/")]
        if not parts:
            raise BundleError(f"manifest.json has no hash of {name}; get the bundle again")
        for part in parts:
            if (found := _sha256(self.path(part))) != files[part]:
                raise BundleError(
                    f"{part} has the SHA-256 {found[:12]}, expected {files[part][:12]}: it was changed or damaged; get it again"
                )
        return path

    def array(self, name: str) -> np.ndarray:
        """The array in the .npy file `name`, after its hash was compared."""
        path = self.checked(name)
        try:
            values: np.ndarray = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise BundleError(f"{path} is no readable .npy file ({error}); get the bundle again") from error
        return values


def _check_schema(found: Any) -> None:
    match = re.match(r"^edgedistill/manifest/(\d+)$", found) if isinstance(found, str) else None
    if match is None:
        raise BundleError(f"found the schema {found!r}, expected {SCHEMA}")
    if found != SCHEMA:
        newer = int(match[1]) > int(SCHEMA.rpartition("/")[2])
        todo = "update the app's glue code" if newer else "write the bundle again with a newer edgedistill"
        raise BundleError(f"found {found}, this code reads {SCHEMA}: {todo}")


def _check_signature(file: Path, data: bytes, public_key: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(file.read_bytes(), data)
    except OSError as error:
        raise BundleError(f"{file} can't be read ({error.strerror}), expected the signature of manifest.json") from error
    except InvalidSignature as error:
        raise BundleError(f"{file} is not the signature of manifest.json by this key: it was changed, or signed by someone else") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
