"""Unpacks Debian packages and wheels into {path: bytes} without dpkg or pip install, root or a Linux file system."""

import io
import lzma
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgedistill import child
from edgedistill.errors import UserError
from edgedistill.files import sha256_file
from edgedistill.measure.kit.lock import Wheel

Tree = dict[str, bytes]
"""Files by their path with forward slashes and no leading one."""

_AR_MAGIC = b"!<arch>\n"
_PYTHON = "3.13"
_TIMEOUT_S = 1800


def unpack_deb(data: bytes) -> Tree:
    """The files of a .deb; a link inside the package becomes a copy of its target, any other link is left out.

    Format: deb(5), an ar archive whose member data.tar.xz is the file system. Raises ValueError for other files.
    """
    name, body = next(((name, body) for name, body in _ar_members(data) if name.startswith("data.tar")), ("", b""))
    if name != "data.tar.xz":
        raise ValueError(f"expected a .deb with a member data.tar.xz, found {name or 'none'}")
    tree = {}
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(body)), mode="r:") as archive:
        for member in archive:
            if member.isdir() or member.isdev():
                continue
            try:
                handle = archive.extractfile(member)
            except KeyError:
                # The link leads out of the package.
                continue
            if handle is not None:
                tree[member.name.removeprefix("./")] = handle.read()
    return tree


def _ar_members(data: bytes):  # type: ignore[no-untyped-def]
    """(name, bytes) of each member. Format: ar(5): 60-byte headers with the size in decimal at 48, members on even offsets."""
    if not data.startswith(_AR_MAGIC):
        raise ValueError(f"expected an ar archive, found a file that begins with {data[:8]!r}")
    at = len(_AR_MAGIC)
    while at + 60 <= len(data):
        name, size = data[at : at + 16].decode().rstrip().rstrip("/"), int(data[at + 48 : at + 58])
        yield name, data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


def unpack_wheel(path: Path) -> Tree:
    """The files of a wheel as pip would install them into site-packages, without scripts and headers.

    Format: Python packaging specifications, binary distribution format 1.0.
    """
    tree = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith("/"):
                continue
            moved = re.fullmatch(r"[^/]+\.data/([^/]+)/(.+)", name)
            if moved is None:
                tree[name] = archive.read(name)
            elif moved[1] in ("purelib", "platlib"):
                tree[moved[2]] = archive.read(name)
    return tree


def download(wheels: Sequence[Wheel], folder: Path) -> list[Path]:
    """Fetch `wheels` into `folder` with this Python's pip, which uses the machine's index and proxy, and check their hashes.

    Raises UserError with the last lines of pip if pip is missing or fails.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels))
    platforms = sorted({platform for wheel in wheels for platform in wheel.file.removesuffix(".whl").rsplit("-", 1)[1].split(".")})
    command = [sys.executable, "-m", "pip", "download", "--require-hashes", "--only-binary=:all:", "--no-deps", "--implementation", "cp"]
    command += ["--python-version", _PYTHON, *(option for platform in platforms for option in ("--platform", platform))]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "-d", str(folder), "-r", str(requirements)]
    try:
        process = child.run(command, timeout_s=_TIMEOUT_S)
    except subprocess.SubprocessError as error:
        raise UserError(f"pip could not fetch the wheels of the kit: {error}") from error
    if process.returncode != 0:
        if "No module named pip" in process.stderr:
            raise UserError(
                f"the wheels of the kit are fetched with pip, which {sys.executable} has not: run `{sys.executable} -m ensurepip`"
            )
        raise UserError(
            "pip could not fetch the wheels of the kit: " + " | ".join(line.strip() for line in process.stderr.strip().splitlines()[-3:])
        )
    paths = [folder / wheel.file for wheel in wheels]
    for wheel, path in zip(wheels, paths, strict=True):
        if not path.is_file() or sha256_file(path) != wheel.sha256:
            raise UserError(
                f"pip did not bring {wheel.file} with SHA-256 {wheel.sha256}, found {sorted(p.name for p in folder.glob('*.whl'))}"
            )
    return paths
