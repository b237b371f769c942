"""Builds the kit: a relocatable Python 3.13 with numpy and three runtimes, for devices without them. It is cached by its content.

docs/kit.md describes its parts, their origin and licences.
"""

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from edgedistill import files, progress
from edgedistill.measure.kit import assemble, lock, mirror, packages
from edgedistill.records.kit import KitContent, KitManifest, KitPackage


@dataclass(frozen=True)
class Kit:
    """A packed kit.

    path: a .tar.gz; unpack it into a new folder and start `sh FOLDER/python`, with the code to run in the current folder.
    """

    path: Path
    manifest: KitManifest


def build(arch: str, *, cache: Path | None = None, mirror: str | None = None) -> Kit:
    """The kit for `arch` ("aarch64" or "x86_64"), from the cache, or built from pinned packages and then cached.

    cache: folder of kits, else $XDG_CACHE_HOME/edgedistill/kits, else ~/.cache/edgedistill/kits. mirror: URL of a Debian archive, else
    $EDGEDISTILL_DEBIAN_MIRROR, else that of this machine's apt, else Debian's own. Wheels come through pip, with pip's own configuration.
    Raises UserError if the architecture is unknown, or a package is unavailable or not the pinned one.
    """
    pinned = lock.read(arch)
    folder = (cache or _default_cache()) / f"{arch}-{_key(pinned)[:16]}"
    kit = _open(folder)
    if kit is None:
        progress.log(f"building the kit for {arch}: {len(pinned.debs)} Debian packages and {len(pinned.wheels)} wheels")
        kit = _build(pinned, folder, mirror)
    for warning in kit.manifest.warnings:
        progress.log(f"warning: kit for {arch}: {warning}")
    return kit


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgedistill" / "kits"


def _key(pinned: lock.Lock) -> str:
    """Hash of all that determines the content: the pinned packages, and this code."""
    code = {path.name: files.sha256_file(path) for path in sorted(Path(__file__).parent.iterdir()) if path.suffix in (".py", ".sh")}
    return files.canonical_hash([asdict(pinned), code])


def _open(folder: Path) -> Kit | None:
    """The complete kit in `folder`, or None."""
    path, about = folder / "kit.tar.gz", folder / "manifest.json"
    # The manifest is written last.
    if not about.is_file():
        return None
    manifest = KitManifest.read(about)
    if not path.is_file() or files.sha256_file(path) != manifest.sha256:
        progress.log(f"warning: {path} is not what its manifest says, so it is built again")
        return None
    return Kit(path, manifest)


def _build(pinned: lock.Lock, folder: Path, url: str | None) -> Kit:
    debs, warnings = mirror.fetch(pinned, mirror.choose(url))
    with tempfile.TemporaryDirectory(prefix="edgedistill-wheels-") as temporary:
        wheels = packages.download(pinned.wheels, Path(temporary))
        tree = assemble.assemble(
            pinned, {deb.name: packages.unpack_deb(data) for deb, data in debs}, [packages.unpack_wheel(wheel) for wheel in wheels]
        )
    used = [
        *(KitPackage(name=deb.name, version=deb.version, file=deb.path, sha256=deb.sha256, source="Debian") for deb, _ in debs),
        *(
            KitPackage(name=wheel.name, version=wheel.version, file=wheel.file, sha256=wheel.sha256, source="PyPI")
            for wheel in pinned.wheels
        ),
    ]
    content = KitContent(
        id=assemble.tree_hash(tree),
        arch=pinned.arch,
        python=next(deb.version for deb, _ in debs if deb.name == assemble.PYTHON_PACKAGE),
        runtimes={wheel.name: wheel.version for wheel in pinned.wheels},
        packages=used,
        libraries=assemble.libraries(tree),
        warnings=warnings,
    )
    path = folder / "kit.tar.gz"
    with files.replacing(path) as temporary_path:
        unpacked = assemble.write_archive(tree, content, temporary_path)
    digest, size = files.sha256_file(path), path.stat().st_size
    manifest = KitManifest(**dict(content), sha256=digest, packed_bytes=size, unpacked_bytes=unpacked)
    manifest.write(folder / "manifest.json")
    return Kit(path, manifest)
