"""The pinned packages of each architecture, from lock.json."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from edgedistill.errors import UserError
from edgedistill.files import read_json

PATH = Path(__file__).with_name("lock.json")


@dataclass(frozen=True)
class Deb:
    """A Debian package; `path` is relative to the archive's root."""

    name: str
    version: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """A wheel of PyPI."""

    name: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Lock:
    """The parts of a kit for `arch`. `debian` is Debian's name of the architecture, `suite` the release, `loader` the dynamic loader."""

    arch: str
    debian: str
    suite: str
    loader: str
    debs: tuple[Deb, ...]
    wheels: tuple[Wheel, ...]


def read(arch: str, path: Path = PATH) -> Lock:
    """The lock of `arch`. Raises UserError for an architecture without a lock."""
    document = read_json(path)
    if arch not in document["architectures"]:
        raise UserError(f"no kit for the architecture {arch!r}: expected one of {', '.join(document['architectures'])}")
    return TypeAdapter(Lock).validate_python({"arch": arch, "suite": document["suite"], **document["architectures"][arch]})
