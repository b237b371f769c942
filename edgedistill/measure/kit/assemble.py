"""Assembles a kit: chooses files of the packages, arranges them, and writes the archive."""

import fnmatch
import gzip
import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.measure.kit import elf
from edgedistill.measure.kit.lock import Lock
from edgedistill.measure.kit.packages import Tree
from edgedistill.records.kit import KitContent

PYTHON_PACKAGE = "python3.13-minimal"
STDLIB, SITE, LIBRARIES = "lib/python3.13", "lib/python3/dist-packages", "lib"
"""The paths that Debian's Python searches below its prefix, so that it finds them without a variable."""

_MARKER = "manifest.json"
_MIN_ALIGNMENT = {"aarch64": 16384}
"""Kernels with pages of 16 KB (Raspberry Pi 5, some phones) cannot load files with finer alignment."""

_LEFT_OUT = (
    # Modules of the standard library that no runtime imports, and modules that need ncurses, readline, OpenSSL, SQLite, bzip2, xz, libuuid.
    *(
        f"{STDLIB}/{name}/*"
        for name in ("test", "idlelib", "turtledemo", "ensurepip", "pydoc_data", "tkinter", "curses", "dbm", "sqlite3", "venv")
    ),
    *(f"{STDLIB}/lib-dynload/{name}.*" for name in ("_curses", "_curses_panel", "_dbm", "_gdbm", "readline", "_sqlite3", "_tkinter")),
    *(f"{STDLIB}/lib-dynload/{name}.*" for name in ("_ssl", "_hashlib", "_bz2", "_lzma", "_uuid", "_test*", "_ctypes_test", "_xx*", "xx*")),
    *(f"{STDLIB}/{name}" for name in ("sitecustomize.py", "turtle.py", "EXTERNALLY-MANAGED")),
    *(
        f"{SITE}/{name}"
        for name in ("*/tests/*", "*.pyi", "*.pxd", "*.h", "*.a", "*_tests.*.so", "*.dist-info/RECORD", "*.dist-info/*.txt")
    ),
    *(
        f"{SITE}/numpy/{name}"
        for name in ("f2py/*", "_pyinstaller/*", "_core/_simd.*.so", "conftest.py", "random/lib/*", "random/_examples/*")
    ),
    # libonnxruntime.so is for C programs; the Python module contains the same code.
    *(f"{SITE}/onnxruntime/{name}" for name in ("ThirdPartyNotices.txt", "Privacy.md", "capi/libonnxruntime.so*")),
    *(f"{SITE}/onnxruntime/{name}" for name in ("transformers/*", "quantization/*", "tools/*", "datasets/*", "backend/*")),
    *(
        f"{SITE}/ai_edge_litert/{name}"
        for name in ("vendors/*", "tools/*", "aot/*", "tflite/*", "libLiteRtWebGpu*", "*_pb2.py", "schema_py*")
    ),
)
_LICENCES = ("license*", "copying*", "notice*", "thirdparty*", "third-party-notices/*", "licenses/*")


def assemble(lock: Lock, debs: Mapping[str, Tree], wheels: Sequence[Tree]) -> Tree:
    """The files of a kit from the opened packages.

    Raises UserError, which names every shared library that is missing or is for another machine or page size.
    """
    tree: Tree = {}
    system: Tree = {}
    for name, files in debs.items():
        for path, data in files.items():
            if path.startswith(f"usr/{STDLIB}/"):
                tree[path.removeprefix("usr/")] = data
            elif fnmatch.fnmatch(path, "usr/lib*/*.so*") and path.count("/") <= 3:
                system[posixpath.basename(path)] = data
            elif path == f"usr/share/doc/{name}/copyright":
                tree[f"licences/{name}/copyright"] = data
    tree["bin/python3.13"] = debs[PYTHON_PACKAGE]["usr/bin/python3.13"]
    for files in wheels:
        tree |= {f"{SITE}/{path}": data for path, data in files.items()} | _licences(files)
    tree = {path: data for path, data in tree.items() if not any(fnmatch.fnmatch(path, pattern) for pattern in _LEFT_OUT)}
    if lock.loader not in system:
        raise UserError(f"the Debian packages of the kit hold no loader {lock.loader}")
    tree[f"{LIBRARIES}/{lock.loader}"] = system[lock.loader]
    _add_libraries(tree, system, lock.arch)
    tree["python"] = Path(__file__).with_name("python.sh").read_bytes().replace(b"@LOADER@", lock.loader.encode())
    return tree


def _licences(wheel: Tree) -> Tree:
    name = next(path.split("-")[0] for path in wheel if path.endswith(".dist-info/METADATA"))
    licences = {}
    for path, data in wheel.items():
        # The path relative to the package or to its metadata, where licences are.
        inside = path.split("/", 1)[-1]
        if any(fnmatch.fnmatch(inside.lower(), pattern) for pattern in _LICENCES) and not path.endswith(".py"):
            licences[f"licences/{name}/{inside.removeprefix('licenses/')}"] = data
    return licences


def _add_libraries(tree: Tree, system: Tree, arch: str) -> None:
    """Copy the system libraries that files of `tree` need, directly or indirectly."""
    missing, wrong = set[str](), list[str]()
    waiting = [path for path, data in tree.items() if elf.is_elf(data)]
    while waiting:
        path = waiting.pop()
        header = elf.read(tree[path])
        if header.machine != arch or header.alignment < _MIN_ALIGNMENT.get(arch, 1):
            wrong.append(f"{path} (machine {header.machine}, segments aligned to {header.alignment})")
        for name in header.needed:
            own = [posixpath.normpath(folder.replace("$ORIGIN", posixpath.dirname(path))) for folder in header.search]
            if any(f"{folder}/{name}" in tree for folder in (*own, LIBRARIES)):
                continue
            if name not in system:
                missing.add(f"{name} (for {path})")
                continue
            tree[f"{LIBRARIES}/{name}"] = system[name]
            waiting.append(f"{LIBRARIES}/{name}")
    if missing:
        raise UserError(f"the kit would lack shared libraries, which no package of its lock holds: {', '.join(sorted(missing))}")
    if wrong:
        raise UserError(f"files of the kit cannot be loaded on {arch}: {', '.join(sorted(wrong))}")


def libraries(tree: Iterable[str]) -> list[str]:
    """The names of the system libraries in a kit, including its loader."""
    return sorted(path.removeprefix(f"{LIBRARIES}/") for path in tree if posixpath.dirname(path) == LIBRARIES)


def tree_hash(tree: Tree) -> str:
    """SHA-256 over names, modes and contents."""
    lines = [f"{hashlib.sha256(data).hexdigest()} {_mode(path, data):o} {path}\n" for path, data in sorted(tree.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_archive(tree: Tree, manifest: KitContent, path: Path) -> int:
    """Write `tree` and its manifest as .tar.gz without times and owners; returns the total size of the files in bytes."""
    files = {**tree, _MARKER: (manifest.model_dump_json(indent=2) + "\n").encode()}
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), _mode(name, data)
            archive.addfile(member, io.BytesIO(data))
    return sum(map(len, files.values()))


def _mode(path: str, data: bytes) -> int:
    return 0o755 if path == "python" or elf.is_elf(data) else 0o644
