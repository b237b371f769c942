"""Updates: downloads newer bundles from a repository, proves them, and swaps them in; the last good one stays until then.

A repository is a folder that `edgedistill publish` wrote and that any file server serves. Nothing here runs by itself: the app calls
`check` and `install` when it suits, for example once a day on Wi-Fi.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundle_folder import Bundle
from .errors import ModelError

_SCHEMA = "edgedistill/updates/1"
_CHUNK = 2**16
_MOST_INDEX = 4 * 2**20
_TIMEOUT_S = 30


class UpdateError(ModelError):
    """An update failed; the bundle that was there stays."""


@dataclass(frozen=True)
class Update:
    """A release that this installation should have: its number, its bytes, and whether it is older than what is installed."""

    number: int
    bytes: int
    goes_back: bool
    release: dict[str, Any]
    serial: int


class Updater:
    """Keeps the bundle in a folder up to date.

    Args:
        folder: Belongs to the updater: it holds `state.json` and a folder for each release.
        url: Of the repository, without a slash at the end.
        installation: A random text that stays the same for this installation; it decides when a staged release comes here.
        app_version: Version of the app, such as 3.2.
        public_key: 32 bytes of an Ed25519 key; with it the index has to be signed (needs the package `cryptography`).
        accept: Called with the folder of a new bundle before it is swapped in, for example to load it and run its self-test. It gives
            True for a good one. By default every file is compared with its hash.
    """

    def __init__(
        self,
        folder: str | Path,
        url: str,
        *,
        installation: str,
        app_version: str = "0",
        public_key: bytes | None = None,
        accept: Callable[[Path], bool] | None = None,
    ) -> None:
        self.folder, self.url = Path(folder), url.rstrip("/")
        self.installation, self.app_version, self.public_key = installation, app_version, public_key
        self.accept = accept or _all_hashes
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def current(self) -> Path | None:
        """The folder of the installed bundle; None before the first one."""
        number = self._state().get("number")
        path = self.folder / f"release-{number}"
        return path if number is not None and (path / "manifest.json").is_file() else None

    def check(self) -> Update | None:
        """The release that this installation should have; None where it has it. Raises UpdateError where the index can't be had."""
        index, state = self._index(), self._state()
        if index["serial"] < state.get("serial", 0):
            raise UpdateError(
                f"found an index with the serial {index['serial']}, expected {state['serial']} or more: the server has an old copy"
            )
        fitting = [release for release in index["releases"] if self._fits(release)]
        if not fitting:
            return None
        wanted, installed = max(fitting, key=lambda release: int(release["number"])), state.get("number")
        known = {release["number"]: release for release in index["releases"]}
        withdrawn = installed is not None and known.get(installed, {"withdrawn": True})["withdrawn"]
        if (
            self.current is not None
            and installed is not None
            and (wanted["number"] == installed or (wanted["number"] < installed and not withdrawn))
        ):
            return None
        back = installed is not None and wanted["number"] < installed
        return Update(wanted["number"], wanted["bytes"], back, wanted, index["serial"])

    def install(self, update: Update, progress: Callable[[int, int], object] | None = None) -> Path:
        """Download a release, prove it, and swap it in. Returns the folder of its bundle.

        A download that was interrupted goes on where it ended. progress: called with the bytes that are there and those of all.

        Raises:
            UpdateError: The download, a hash, or `accept` failed; what was installed stays.
        """
        place, release = self.folder / f"release-{update.number}", update.release
        archive = self.folder / f"{release['sha256']}.zip"
        if not self._from_delta(release, archive, progress):
            self._download(release["file"], archive, release["bytes"], release["sha256"], progress)
        unpacked = self.folder / f".unpacked-{update.number}"
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            _unpack(archive, unpacked)
            if not self.accept(unpacked):
                raise UpdateError(f"release {update.number} failed its test on this device; the old one stays")
            if place != self.current:
                shutil.rmtree(place, ignore_errors=True)
                unpacked.rename(place)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        before = self._state().get("number")
        # This is the swap: before it the old bundle counts, behind it the new one.
        self._write_state({"number": update.number, "archive": archive.name, "previous": before, "serial": update.serial})
        self._tidy({update.number, before}, archive)
        return place

    def _fits(self, release: dict[str, Any]) -> bool:
        needed = release["minimum_app"]
        if release["withdrawn"] or (needed is not None and _is_older(self.app_version, needed)):
            return False
        return share_of(self.installation, release["number"]) < float(release["percent"])

    def _index(self) -> dict[str, Any]:
        data = self._get("index.json")
        if self.public_key is not None:
            self._check_signature(data, self._get("index.sig"))
        try:
            index: dict[str, Any] = json.loads(data)
            found = index["schema"]
            index["releases"] = [_checked(release) for release in index["releases"]]
            int(index["serial"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UpdateError(f"{self.url}/index.json is damaged ({error}); try again later") from error
        if found != _SCHEMA:
            raise UpdateError(f"found {str(found)[:100]!r}, this code reads {_SCHEMA}: update the app")
        return index

    def _check_signature(self, data: bytes, signature: bytes) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        assert self.public_key is not None
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, data)
        except InvalidSignature as error:
            raise UpdateError(f"{self.url}/index.sig is not the signature of index.json by this key; nothing was changed") from error

    def _get(self, name: str) -> bytes:
        try:
            with urllib.request.urlopen(f"{self.url}/{name}", timeout=_TIMEOUT_S) as answer:
                data: bytes = answer.read(_MOST_INDEX + 1)
        except (OSError, ValueError) as error:
            raise UpdateError(f"{self.url}/{name} can't be read ({error}); try again later") from error
        if len(data) > _MOST_INDEX:
            raise UpdateError(f"{self.url}/{name} has more than {_MOST_INDEX:,} bytes")
        return data

    def _from_delta(self, release: dict[str, Any], archive: Path, progress: Callable[[int, int], object] | None) -> bool:
        """Make the .zip of a release of the installed one; False where that can't be done, and the whole one is downloaded."""
        old = self.folder / str(self._state().get("archive"))
        delta = next((delta for delta in release["deltas"] if old.name == f"{delta['base']}.zip"), None)
        if delta is None or archive.exists() or not old.is_file():
            return False
        try:
            import zstandard
        except ImportError:
            return False
        packed = self.folder / f"{delta['sha256']}.zst"
        self._download(delta["file"], packed, delta["bytes"], delta["sha256"], progress)
        prefix = zstandard.ZstdCompressionDict(old.read_bytes(), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        unpacker = zstandard.ZstdDecompressor(dict_data=prefix, max_window_size=2**31)
        try:
            data = unpacker.decompress(packed.read_bytes(), max_output_size=release["bytes"])
        except zstandard.ZstdError:
            data = b""
        packed.unlink()
        if hashlib.sha256(data).hexdigest() != release["sha256"]:
            # The installed .zip was damaged: the whole new one does not need it.
            return False
        partial = archive.with_suffix(".delta")
        partial.write_bytes(data)
        os.replace(partial, archive)
        return True

    def _download(self, name: str, file: Path, size: int, sha256: str, progress: Callable[[int, int], object] | None) -> None:
        """Download a file of the repository, from where an earlier download of it ended."""
        if file.is_file() and _sha256(file) == sha256:
            return
        partial = file.with_suffix(".part")
        start = partial.stat().st_size if partial.is_file() else 0
        if start > size:
            partial.unlink()
            start = 0
        request = urllib.request.Request(f"{self.url}/{name}", headers={"Range": f"bytes={start}-"} if start else {})
        try:
            if start < size:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                    # A server that knows no ranges sends the whole file.
                    mode = "ab" if answer.status == 206 else "wb"
                    done = start if mode == "ab" else 0
                    with partial.open(mode) as target:
                        while (chunk := answer.read(_CHUNK)) and done <= size:
                            target.write(chunk)
                            done += len(chunk)
                            if progress is not None:
                                progress(min(done, size), size)
        except (OSError, ValueError) as error:
            raise UpdateError(f"{self.url}/{name} can't be read ({error}); call install again to go on") from error
        if partial.stat().st_size < size:
            raise UpdateError(f"{self.url}/{name} ended after {partial.stat().st_size:,} of {size:,} bytes; call install again to go on")
        if (found := _sha256(partial)) != sha256:
            partial.unlink()
            raise UpdateError(f"{self.url}/{name} has the SHA-256 {found[:12]}, expected {sha256[:12]}: it was changed or damaged")
        os.replace(partial, file)

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _write_state(self, state: dict[str, Any]) -> None:
        temporary = self.folder / ".state.json"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.folder / "state.json")

    def _tidy(self, kept: set[int | None], archive: Path) -> None:
        """Remove older releases and downloads; the last good release and the newest .zip, the base of the next delta, stay."""
        for path in self.folder.iterdir():
            old = re.fullmatch(r"release-(\d+)", path.name)
            if (old and int(old[1]) not in kept) or path.name.startswith(".unpacked-"):
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix in (".zip", ".part", ".zst", ".delta") and path != archive:
                path.unlink()


def _checked(release: dict[str, Any]) -> dict[str, Any]:
    """A release of an index with all its fields. Raises ValueError or KeyError where one is not what it should be."""
    whole = {"minimum_app": None, "withdrawn": False, "deltas": [], **release, "percent": float(release["percent"])}
    if not isinstance(whole["number"], int) or whole["number"] < 1:
        raise ValueError(f"found the release {whole['number']!r}")
    # Hashes become names of files.
    for file in (whole, *whole["deltas"]):
        if not re.fullmatch(r"[0-9a-f]{64}", file["sha256"]) or not isinstance(file["bytes"], int) or file["bytes"] < 1:
            raise ValueError(f"found {file['sha256'][:100]!r} and {file['bytes']!r} as hash and bytes of {file['file']}")
    return whole


def share_of(installation: str, number: int) -> float:
    """Where an installation stands among all for a release, 0 to 100: a release for 10 percent comes to those below 10."""
    digest = hashlib.sha256(f"{installation}:{number}".encode()).digest()
    return 100 * int.from_bytes(digest[:4], "big") / 2**32


def _all_hashes(folder: Path) -> bool:
    bundle = Bundle(folder)
    for name in bundle.manifest["files"]:
        bundle.checked(name)
    return True


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the plain files of a .zip; anything else in it is an error."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                parts = entry.filename.split("/")
                if "\\" in entry.filename or entry.filename.startswith("/") or ".." in parts or ":" in parts[0]:
                    raise UpdateError(f"the path {entry.filename!r} is not allowed in a bundle")
                if (entry.external_attr >> 16) & 0o170000 == 0o120000:
                    raise UpdateError(f"{entry.filename} is a link, which a bundle must not have")
                if entry.file_size > max(2**20, 200 * entry.compress_size):
                    raise UpdateError(f"{entry.filename} would fill the disk")
                if not entry.is_dir():
                    target = folder.joinpath(*parts)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with opened.open(entry) as source, target.open("wb") as out:
                        shutil.copyfileobj(source, out, _CHUNK)
                        # Before the swap: a loss of power must not leave an empty model behind it.
                        out.flush()
                        os.fsync(out.fileno())
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise UpdateError(f"the downloaded bundle can't be unpacked ({error})") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _is_older(version: str, needed: str) -> bool:
    """Whether a version is older than another; 3.2 and 3.2.0 are the same."""
    mine, theirs = ([int(part) for part in re.findall(r"\d+", text)] for text in (version, needed))
    length = max(len(mine), len(theirs))
    return mine + [0] * (length - len(mine)) < theirs + [0] * (length - len(theirs))
