"""A run folder: what is finished, from which inputs, with which outputs; and what can be resumed."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from edgedistill import processes
from edgedistill.backends import formats
from edgedistill.errors import UserError
from edgedistill.files import canonical_hash, read_json, sha256_tree, write_json
from edgedistill.records import Artifact, Lowered

_MARK = "run.json"


class Run:
    """A folder with one sub-folder a step and one record of each finished step in `steps/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, *parts: str) -> Path:
        """A path inside the run."""
        return self.folder.joinpath(*parts)

    def step(self, name: str, inputs: Any, work: Callable[[Path], Any], *, together: bool = False) -> Any:
        """The JSON-able result of step `name`: read back when it was done from the same `inputs`, else made by `work`.

        `work` gets the step's folder. It finds there what an interrupted try at the same inputs left, and nothing of
        a try at other inputs. The record is written last, with a hash of the folder, so that a step is either done
        or not, and a folder that changed since is made again.

        Of several processes the main one works and the others wait for its result; `together` all of them do the work.
        """
        key, folder, record = canonical_hash(inputs), self.path(name), self.path("steps", f"{name}.json")
        if processes.is_main():
            done = self._finished(name, key)
        processes.wait()
        if not processes.is_main():
            if together and not record.exists():
                work(folder)
            processes.wait()
            return read_json(record)["result"]
        if done is None:
            begun = time.monotonic()
            done = {"inputs": key, "result": to_jsonable_python(work(folder))}
            done |= {"outputs": sha256_tree(folder), "seconds": time.monotonic() - begun}
            write_json(record, done)
        processes.wait()
        return done["result"]

    def _finished(self, name: str, key: str) -> dict[str, Any] | None:
        """The record of a step that was done from the inputs of `key`; None after its folder was made ready for work."""
        folder, record, started = self.path(name), self.path("steps", f"{name}.json"), self.path("steps", f"{name}.started.json")
        if record.exists():
            done = read_json(record)
            if done["inputs"] == key and folder.is_dir() and sha256_tree(folder) == done["outputs"]:
                return done
            record.unlink()
        if not (started.exists() and read_json(started) == key):
            shutil.rmtree(folder, ignore_errors=True)
            write_json(started, key)
        folder.mkdir(parents=True, exist_ok=True)
        return None

    def result(self, name: str) -> Any:
        """The result of a finished step, or None."""
        record = self.path("steps", f"{name}.json")
        return read_json(record)["result"] if record.exists() else None

    def artifacts(self) -> list[Artifact]:
        """The artifacts that the run has by now, by format."""
        made = [self.result(f"export-{format_}") for format_ in formats()]
        return [artifact for one in made if one is not None for artifact in Lowered.model_validate(one).artifacts]

    def artifact(self, name: str) -> Artifact:
        """The artifact of that file name. Raises UserError with the names that there are."""
        found = {artifact.name: artifact for artifact in self.artifacts()}
        if name not in found:
            raise UserError(f"found no artifact {name} in {self.folder}, expected one of {', '.join(found) or 'none'}")
        return found[name]

    def forget(self, prefix: str) -> None:
        """Drop the records of the steps whose name begins with `prefix`: what they were made from is made again."""
        for record in self.path("steps").glob(f"{prefix}*.json"):
            record.unlink()

    def seconds(self, prefix: str) -> float:
        """How long the finished steps whose name begins with `prefix` took when they were made, in seconds."""
        return sum(read_json(p)["seconds"] for p in self.path("steps").glob(f"{prefix}*.json") if not p.name.endswith(".started.json"))


@contextmanager
def open_run(folder: Path, *, fresh: bool = False) -> Iterator[Run]:
    """Take the run at `folder` for this process and those that train with it; with `fresh` what is there is removed first.

    Raises UserError when another process has it, or when the folder holds something else than a run.
    """
    if not processes.is_main():
        processes.wait()
        yield Run(folder)
        return
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise UserError(f"{folder} exists and is not a run of edgedistill; choose another name or --runs-dir")
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another edgedistill works in {folder}; wait for it, or use another --runs-dir") from error
        if fresh:
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if not (folder / _MARK).exists():
            write_json(folder / _MARK, {"schema": "edgedistill/run/1"})
        processes.wait()
        yield Run(folder)
    finally:
        os.close(lock)


def newest(runs_dir: Path) -> Path:
    """The run in `runs_dir` that was worked on last; UserError when there is none."""
    runs = [mark.parent for mark in runs_dir.glob(f"*/{_MARK}")]
    if not runs:
        raise UserError(f"no run in {runs_dir}; make one with `edgedistill run recipes/quickstart.yaml`, or name a run's folder")
    return max(runs, key=lambda folder: max((p.stat().st_mtime for p in (folder / "steps").glob("*.json")), default=0.0))
