"""The folders of runs: which of them are ours, taking one for work, and reading one that cannot be written."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedistill import processes, scratch, storage
from edgedistill.errors import DamagedFile, UserError
from edgedistill.files import read_json, remove, write_json
from edgedistill.records.gate import CARD_FILES
from edgedistill.run import RECORDS, WORK, Run

_MARK = f"{WORK}/run.json"
_SCHEMA = "edgedistill/run/2"
_OLD_MARK = "run.json"
_SCRATCH = "tmp"


@contextmanager
def open_run(folder: Path, *, fresh: bool = False) -> Iterator[Run]:
    """Take the run at `folder` for this process and those that train with it; with `fresh` what is there is removed first.

    Raises UserError when another process has it, when the folder holds something else than a run, and for a run of an older version;
    StorageFailed when it cannot be written.
    """
    if not processes.is_main():
        processes.wait()
        yield Run(folder)
        return
    # A try that ended while it made the mark left nothing but a part of it.
    if any(entry.is_file() and not entry.match(".run.*.tmp.json") for entry in folder.rglob("*")):
        check_run(folder)
    with _told(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if storage.failure_of(error):
                raise
            raise UserError(f"{folder} cannot be made ({error.strerror}); choose another name or --runs-dir") from error
        with _locked(folder, fcntl.LOCK_EX):
            scratch.remove_half_written(folder / WORK)
            if not _whole(folder):
                write_json(folder / _MARK, {"schema": _SCHEMA})
            if fresh:
                _clear(Run(folder))
            with scratch.within(folder / WORK / _SCRATCH):
                processes.wait()
                yield Run(folder)


@contextmanager
def read_run(folder: Path) -> Iterator[Run]:
    """Take the run at `folder` for a command that needs nothing but to read it.

    Where it cannot be written, the block gets a copy in a temporary folder, which links to what the run holds. Raises as `open_run` does.
    """
    if all(os.access(path, os.W_OK) for path in (folder, folder / WORK, folder / RECORDS)):
        with open_run(folder) as run:
            yield run
        return
    check_run(folder)
    with _told(folder), _locked(folder, fcntl.LOCK_SH), scratch.temporary() as place:
        copy = place / folder.resolve().name
        _link(folder.resolve(), copy)
        with scratch.within(copy / WORK / _SCRATCH):
            yield Run(copy, shown=folder)


def _link(folder: Path, copy: Path) -> None:
    """Fill `copy` with links to what steps of the run `folder` read, and copies of what they change."""
    (copy / RECORDS).mkdir(parents=True)
    for path in folder.iterdir():
        if path.name not in (WORK, "logs", "bundles", "report.html", "summary.json"):
            (copy / path.name).symlink_to(path)
    for path in (folder / WORK).iterdir():
        if path.is_dir() and path.name not in (_SCRATCH, Path(RECORDS).name):
            (copy / WORK / path.name).symlink_to(path)
    for path in (*(folder / RECORDS).glob("*.json"), folder / _MARK):
        shutil.copyfile(path, copy / path.relative_to(folder))


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Raise StorageFailed for what the block raises where something in `folder` cannot be written."""
    try:
        yield
    except Exception as error:
        if failure := storage.failure_of(error, folder):
            raise failure from error
        raise


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another edgedistill works in {folder}; wait for it, or use another --runs-dir") from error
        yield
    finally:
        os.close(lock)


def is_run(folder: Path) -> bool:
    """Whether `folder` is a run of this version.

    A mark that is empty or cut off, as after a crash of the machine, is made again where a record of ours stands beside it.
    """
    try:
        return _marked(folder)
    except DamagedFile:
        run = Run(folder)
        return any(run.begun(name) is not None for name in run.steps())


def _whole(folder: Path) -> bool:
    """Whether the mark of a run needs not be written."""
    try:
        return _marked(folder)
    except DamagedFile:
        return False


def _marked(folder: Path) -> bool:
    """Whether the mark of a run is there and ours. Raises DamagedFile where it is no JSON."""
    if not (folder / _MARK).is_file():
        return False
    mark = read_json(folder / _MARK)
    return isinstance(mark, dict) and mark.get("schema") == _SCHEMA


def _clear(run: Run) -> None:
    """Remove what steps and reports wrote, and nothing of the user's. The mark stays: a folder that was half emptied is a run still."""
    begun = [declared for name in run.steps() if (declared := run.begun(name)) is not None]
    outputs = [run.path(output) for declared in begun for output in declared.outputs]
    pages = [run.path(name) for name in ("report.html", "summary.json", "recipe.json", *CARD_FILES)]
    for path in [*outputs, *pages, *run.path("logs").glob("*.log"), *run.work().glob("*")]:
        if path != run.path(_MARK):
            remove(path)
    for folder in {path.parent for path in outputs} | {run.path("logs")}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def check_run(folder: Path) -> None:
    """Raise UserError unless `folder` is a run of this version."""
    if is_run(folder):
        return
    if (folder / _OLD_MARK).exists():
        raise UserError(
            f"{folder} is a run of an older version of edgedistill, whose layout this version does not read; "
            "run its recipe again into another folder (another name or --runs-dir), or remove the folder"
        )
    mark = folder / _MARK
    if mark.is_file() and not mark.read_bytes().strip():
        raise UserError(f"{mark} is empty, so that {folder} may be a run or not; choose another name or --runs-dir, or remove the folder")
    raise UserError(f"{folder} exists and is not a run of edgedistill; choose another name or --runs-dir")


def newest(runs_dir: Path) -> Path:
    """The run in `runs_dir` that was worked on last; UserError when there is none."""
    runs = [mark.parent.parent for mark in runs_dir.glob(f"*/{_MARK}")]
    if not runs:
        for mark in runs_dir.glob(f"*/{_OLD_MARK}"):
            check_run(mark.parent)
        raise UserError(f"no run in {runs_dir}; make one with `edgedistill run recipes/quickstart.yaml`, or name a run's folder")
    return max(runs, key=lambda folder: max((p.stat().st_mtime for p in (folder / RECORDS).glob("*.json")), default=0.0))
