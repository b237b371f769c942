"""A folder that is built once and used until what it is made from changes."""

import fcntl
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".rigs"
_HERE = Path(__file__).parent


def built(name: str, sources: list[str], build: Callable[[Path], None]) -> Path:
    """The folder that `build` filled, now or in an earlier session.

    sources: files and folders beside this module whose text decides whether it is built anew. Two processes that want the same folder
    build it once. The last few of the same name are kept for other branches.
    """
    digest = hashlib.sha256()
    for source in sources:
        path = _HERE / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    FOLDER.mkdir(exist_ok=True)
    folder = FOLDER / f"{name}-{digest.hexdigest()[:12]}"
    with open(FOLDER / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = folder.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            build(partial)
            partial.rename(folder)
            others = sorted((old for old in FOLDER.glob(f"{name}-*") if old != folder), key=lambda old: old.stat().st_mtime)
            for old in others[:-2]:
                shutil.rmtree(old)
    return folder
