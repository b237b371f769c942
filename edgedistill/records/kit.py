"""What is in a kit, the Python with runtimes that devices without them are sent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record


class KitPackage(Record):
    """A package that the kit was built from."""

    name: str
    version: str
    file: str
    sha256: str
    source: Literal["Debian", "PyPI"] = Field(alias="from")


class KitContent(Record):
    """What the manifest in the archive says."""

    document: Literal["edgedistill/kit/1"] = Field("edgedistill/kit/1", alias="schema")
    id: str = Field(description="SHA-256 over names, modes and bytes of its files, the manifest left out.")
    arch: str
    python: str = Field(description="Version.")
    runtimes: dict[str, str] = Field(description="Versions by package.")
    packages: list[KitPackage]
    libraries: list[str]
    warnings: list[str]


class KitManifest(KitContent):
    """What the manifest beside the archive says."""

    sha256: str = Field(description="Of the archive.")
    packed_bytes: int
    unpacked_bytes: int


class KitFacts(KitManifest):
    """What `kit` prints: where the archive is, and what its manifest says."""

    path: str
