"""Reads the signed index of a Debian suite, which has the current versions of packages, and verifies it with Debian's keys.

Source: Debian wiki, DebianRepository/Format; gpgv(1) and GnuPG's doc/DETAILS for the status lines.
"""

import hashlib
import lzma
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.measure.kit import fetching
from edgedistill.measure.kit.lock import Deb
from edgedistill.measure.runner import bounded

_TIMEOUT_S = 60
KEYRINGS = [Path("/usr/share/keyrings", f"debian-archive-keyring.{suffix}") for suffix in ("pgp", "gpg")]


def packages(mirror: str, suite: str, debian: str, names: Collection[str]) -> dict[str, Deb]:
    """`names` as the archive at `mirror` has them now for the architecture `debian`.

    Raises UserError if the index is unavailable, its signature cannot be verified or is not Debian's, or a package is not in it.
    """
    name = f"main/binary-{debian}/Packages.xz"
    digest = _digest(_release(f"{mirror}/dists/{suite}/InRelease", suite), name)
    data = _fetch(f"{mirror}/dists/{suite}/{name}")
    if (actual := hashlib.sha256(data).hexdigest()) != digest:
        raise UserError(f"{mirror}/dists/{suite}/{name}: the signed index announces SHA-256 {digest}, found {actual}")
    newest: dict[str, Deb] = {}
    for paragraph in lzma.decompress(data).decode().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Filename|SHA256): (.+)$", paragraph, re.MULTILINE))
        if fields.get("Package") in names:
            newest[fields["Package"]] = Deb(fields["Package"], fields["Version"], fields["Filename"], fields["SHA256"])
    if missing := sorted(set(names) - set(newest)):
        raise UserError(f"{mirror}: {suite} has no {', '.join(missing)} for {debian}")
    return newest


def _fetch(url: str) -> bytes:
    try:
        return fetching.read(url)
    except fetching.GoneError as error:
        raise UserError(f"{url} does not exist: is that the mirror of a Debian archive?") from error


def _release(url: str, suite: str) -> str:
    """The part of InRelease that a key of Debian's archive has signed."""
    keyring = next((path for path in KEYRINGS if path.is_file()), None)
    gpgv = shutil.which("gpgv")
    if gpgv is None or keyring is None:
        missing = "gpgv" if gpgv is None else f"Debian's keyring, {KEYRINGS[-1]}"
        raise UserError(
            f"the mirror no longer has a pinned package, and newer ones cannot be verified as Debian's without {missing}: install the "
            "packages gpgv and debian-archive-keyring, or name a mirror that keeps old versions with --mirror"
        )
    with tempfile.TemporaryDirectory(prefix="edgedistill-release-") as folder:
        signed, text = Path(folder, "InRelease"), Path(folder, "Release")
        signed.write_bytes(_fetch(url))
        command = [gpgv, "--status-fd", "1", "--keyring", str(keyring), "--output", str(text), str(signed)]
        try:
            status = bounded.run(command, timeout_s=_TIMEOUT_S).stdout
        except subprocess.SubprocessError as error:
            raise UserError(f"the signature of {url} could not be verified: {error}") from error
        # Ignore the exit code: it is an error if this keyring lacks the key of any of several signatures.
        if not re.search(r"^\[GNUPG:\] VALIDSIG ", status, re.MULTILINE) or re.search(r"^\[GNUPG:\] BADSIG ", status, re.MULTILINE):
            raise UserError(f"{url} is not signed by a key of {keyring}: name another mirror with --mirror")
        release = text.read_text()
    if not re.search(rf"^Codename: {re.escape(suite)}$", release, re.MULTILINE):
        raise UserError(f"{url} is signed, but is not the index of {suite}")
    return release


def _digest(release: str, name: str) -> str:
    section = release.split("\nSHA256:\n", 1)[-1]
    line = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(name)}$", section, re.MULTILINE)
    if line is None:
        raise UserError(f"the signed index names no {name}")
    return line[1]
