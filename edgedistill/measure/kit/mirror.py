"""Fetches Debian packages from a mirror: the pinned ones or, if a point release has removed them, those of its signed index."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import urllib.parse

from edgedistill import progress
from edgedistill.errors import UserError
from edgedistill.measure.kit import fetching, index
from edgedistill.measure.kit.lock import Deb, Lock
from edgedistill.measure.runner import bounded

_TIMEOUT_S = 60
VARIABLE = "EDGEDISTILL_DEBIAN_MIRROR"


def choose(url: str | None) -> str:
    """`url`, else $EDGEDISTILL_DEBIAN_MIRROR, else the mirror that this machine's apt uses for Debian itself.

    Raises UserError if none of them is known.
    """
    chosen = url or os.environ.get(VARIABLE) or _of_apt()
    if chosen is None:
        raise UserError(f"the kit needs a Debian archive, and apt is not here to name one: give its URL with --mirror or in {VARIABLE}")
    return chosen.rstrip("/")


def _of_apt() -> str | None:
    apt = shutil.which("apt-get")
    if apt is None:
        return None
    # Debian-Security has another label and third parties have another origin.
    command = [apt, "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian", "Component: main"]
    try:
        archives = bounded.run(command, timeout_s=_TIMEOUT_S).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return next((uri for uri in archives if urllib.parse.urlsplit(uri).scheme in ("http", "https", "file")), None)


def fetch(lock: Lock, mirror: str) -> tuple[list[tuple[Deb, bytes]], list[str]]:
    """The packages of `lock` with their bytes, and warnings that name those of another version.

    Raises UserError if a file has another hash, or is neither pinned nor in the signed index.
    """
    fetched: dict[str, bytes] = {}
    with progress.track("fetching Debian packages", len(lock.debs)) as tracker:
        for deb in lock.debs:
            with contextlib.suppress(fetching.GoneError):
                fetched[deb.name] = _checked(deb, mirror)
            tracker.advance()
    gone = [deb for deb in lock.debs if deb.name not in fetched]
    if not gone:
        return [(deb, fetched[deb.name]) for deb in lock.debs], []
    newer = index.packages(mirror, lock.suite, lock.debian, {deb.name for deb in gone})
    for deb in newer.values():
        try:
            fetched[deb.name] = _checked(deb, mirror)
        except fetching.GoneError as error:
            raise UserError(f"{error} is in the mirror's signed index but not on the mirror: try again later or name another") from error
    warnings = [
        f"{deb.name} {deb.version} is gone from the mirror: {newer[deb.name].version} of its signed index was taken" for deb in gone
    ]
    return [(newer.get(deb.name, deb), fetched[deb.name]) for deb in lock.debs], warnings


def _checked(deb: Deb, mirror: str) -> bytes:
    url = f"{mirror}/{urllib.parse.quote(deb.path, safe='/+~')}"
    data = fetching.read(url)
    if (digest := hashlib.sha256(data).hexdigest()) != deb.sha256:
        raise UserError(f"{url}: expected SHA-256 {deb.sha256}, found {digest}; name another mirror with --mirror")
    return data
