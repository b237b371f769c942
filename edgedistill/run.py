"""A run folder: what is finished, from which inputs, with which outputs; and what can be resumed."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from edgedistill import processes
from edgedistill.backends import formats
from edgedistill.errors import UserError
from edgedistill.files import canonical_hash, read_json, remove, sha256_file, sha256_tree, write_json
from edgedistill.packages import installed
from edgedistill.progress import log
from edgedistill.provenance import code_hash
from edgedistill.records import Artifact, Lowered, NotLowered, Record
from edgedistill.records.steps import Declared, StepRecord

_WORK = "work"
_MARK = f"{_WORK}/run.json"
_SCHEMA = "edgedistill/run/2"
_OLD_MARK = "run.json"


@dataclass(frozen=True)
class Step:
    """What a step makes, and what it makes it of: a step is done again when one of these changes."""

    name: str
    inputs: Any = None
    """Values that it depends on, as JSON."""
    reads: tuple[str, ...] = ()
    """Files and folders of the run that it reads; their content counts."""
    code: tuple[str, ...] = ()
    """Modules whose code counts, each with what it imports from its own package."""
    version: int = 1
    """Version of the code, raised by hand where the result changes: of long steps, which no change of the code alone shall repeat."""
    packages: tuple[str, ...] = ()
    """Distributions whose installed versions count."""
    noted: tuple[str, ...] = ()
    """Distributions whose versions are recorded but do not count."""
    outputs: tuple[str, ...] = ()
    """Files and folders of the run that it writes outside of its own folder."""


class Run:
    """A folder with what a person takes from it, and in `work` a folder for each step and the records of the finished ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hashes: dict[tuple[str, int, int, int], str] = {}

    def path(self, *parts: str) -> Path:
        """A path inside the run."""
        return self.folder.joinpath(*parts)

    def work(self, *parts: str) -> Path:
        """A path inside the folder of the steps; the first part is the name of a step."""
        return self.folder.joinpath(_WORK, *parts)

    def step(self, step: Step, work: Callable[[Path], Any], *, again: bool = False, together: bool = False) -> Any:
        """The JSON-able result of a step: read back when it was done from the same inputs, else made by `work`.

        `work` gets the step's folder. It finds there what an interrupted try at the same inputs left, and nothing of
        a try at other inputs. The record is written last, with the hashes of the outputs, so that a step is either done
        or not, and one whose outputs changed since is done again. A result with the key `error` is a failure: it is kept
        for readers, and the next call tries again. With `again` a finished step is done anew.

        Of several processes the main one works and the others wait for its result; `together` all of them do the work.
        """
        folder, record = self.work(step.name), self._record(step.name)
        step_record = None
        if processes.is_main():
            declared = self._declared(step)
            step_record = self._finished(step, declared, again=again)
        processes.wait()
        if not processes.is_main():
            if together and not record.exists():
                work(folder)
            processes.wait()
            return read_json(record)["result"]
        if step_record is None:
            begun = time.monotonic()
            versions, result = installed(("edgedistill", *step.packages, *step.noted)), _plain(work(folder))
            seconds = time.monotonic() - begun
            step_record = StepRecord(declared=declared, versions=versions, result=result, outputs=self._contents(step), seconds=seconds)
            write_json(record, step_record.model_dump(mode="json"))
        processes.wait()
        return step_record.result

    def _declared(self, step: Step) -> Declared:
        """What a step is made of, by hash and version."""
        return Declared(
            inputs=canonical_hash(step.inputs),
            reads={path: self.content(path) for path in step.reads},
            code={module: code_hash(module) for module in step.code},
            version=step.version,
            packages=installed(step.packages),
            outputs=list(step.outputs),
        )

    def _finished(self, step: Step, declared: Declared, *, again: bool) -> StepRecord | None:
        """The record of a step that was done from what is `declared`; None after its folder was made ready for work."""
        folder, record, started = self.work(step.name), self._record(step.name), self.work("records", f"{step.name}.started.json")
        begun = Declared.read(started) if started.exists() else None
        if record.exists():
            step_record = StepRecord.read(record)
            again |= _failed(step_record.result)
            if not again and step_record.declared == declared and self._contents(step) == step_record.outputs:
                return step_record
            if not again and step_record.declared != declared:
                log(f"{step.name} is done again, {_difference(step_record.declared, declared)}")
            record.unlink()
        if again or begun != declared:
            earlier = begun.outputs if begun is not None else []
            for path in (folder, *(self.path(output) for output in {*earlier, *step.outputs})):
                remove(path)
            declared.write(started)
        folder.mkdir(parents=True, exist_ok=True)
        for output in step.outputs:
            self.path(output).parent.mkdir(parents=True, exist_ok=True)
        return None

    def _contents(self, step: Step) -> dict[str, str | None]:
        """The hash of what a step wrote, by path; None for what is not there."""
        paths = [f"{_WORK}/{step.name}", *step.outputs]
        return {path: self.content(path) if self.path(path).exists() else None for path in paths}

    def content(self, path: str) -> str:
        """SHA-256 of a file of the run, or of a folder's relative names and contents. Raises UserError when it is missing."""
        whole = self.path(path)
        if whole.is_file():
            return self._hash(whole)
        if not whole.is_dir():
            raise UserError(f"{whole} is missing; go on with `edgedistill run` of the run's recipe, which makes it")
        files = sorted(file for file in whole.rglob("*") if file.is_file())
        return canonical_hash([[file.relative_to(whole).as_posix(), self._hash(file)] for file in files])

    def _hash(self, file: Path) -> str:
        """SHA-256 of a file, which is read once as long as it stays."""
        facts = file.stat()
        key = (str(file), facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = sha256_file(file)
        return self._hashes[key]

    def _record(self, name: str) -> Path:
        return self.work("records", f"{name}.json")

    def result(self, name: str) -> Any:
        """The result of a finished step, or None."""
        record = self._record(name)
        return read_json(record)["result"] if record.exists() else None

    def lowered(self) -> dict[str, Lowered]:
        """What came of lowering to each format by now."""
        results = {name: self.result(f"export-{name}") for name in formats()}
        return {name: Lowered.model_validate(result) for name, result in results.items() if result is not None}

    def artifacts(self) -> list[Artifact]:
        """The artifacts that the run has by now, by format."""
        return [artifact for lowered in self.lowered().values() for artifact in lowered.artifacts]

    def changed(self, artifact: Artifact) -> str | None:
        """How the file of `artifact` is not the one that was lowered; None where it is."""
        path = self.path(artifact.path)
        todo = f"`edgedistill export {self.folder}` makes it again"
        if not path.exists():
            return f"the file is missing; {todo}"
        sha256 = sha256_tree(path)
        if sha256 != artifact.sha256:
            return f"the file changed after it was lowered: SHA-256 {sha256[:12]}, expected {artifact.sha256[:12]}; {todo}"
        return None

    def not_lowered(self) -> list[NotLowered]:
        """The files that were asked for and could not be made."""
        return [file for lowered in self.lowered().values() for file in lowered.not_lowered]

    def artifact(self, name: str) -> Artifact:
        """The artifact of that file name. Raises UserError with the names that there are."""
        artifacts = {artifact.name: artifact for artifact in self.artifacts()}
        if name not in artifacts:
            raise UserError(f"found no artifact {name} in {self.folder}, expected one of {', '.join(artifacts) or 'none'}")
        return artifacts[name]

    def versions(self, name: str) -> dict[str, str]:
        """The versions of the packages that a finished step was done with; empty where it was not done."""
        record = self._record(name)
        return dict(read_json(record)["versions"]) if record.exists() else {}

    def seconds(self, prefix: str) -> float:
        """How long the finished steps whose name begins with `prefix` took when they were made, in seconds."""
        records = self.work("records").glob(f"{prefix}*.json")
        return sum(read_json(p)["seconds"] for p in records if not p.name.endswith(".started.json"))


def _failed(result: Any) -> bool:
    return isinstance(result, dict) and result.get("error") is not None


def _plain(result: Any) -> Any:
    """The result of a step as JSON has it."""
    return result.model_dump(mode="json") if isinstance(result, Record) else to_jsonable_python(result)


def _difference(before: Declared, now: Declared) -> str:
    """What of the things that a step is made of is another than before."""
    versions = [(name, *(facts.packages.get(name, "none") for facts in (before, now))) for name in before.packages | now.packages]
    changed = [f"{name} {earlier} -> {current}" for name, earlier, current in versions if earlier != current]
    for noun, earlier_hashes, hashes in (("the code of", before.code, now.code), ("the content of", before.reads, now.reads)):
        changed += [f"{noun} {name}" for name, hash_ in hashes.items() if earlier_hashes.get(name) != hash_]
    changed += ["its inputs"] if before.inputs != now.inputs else []
    return "changed: " + (", ".join(changed) or "what it is made of")


@contextmanager
def open_run(folder: Path, *, fresh: bool = False) -> Iterator[Run]:
    """Take the run at `folder` for this process and those that train with it; with `fresh` what is there is removed first.

    Raises UserError when another process has it, when the folder holds something else than a run, and for a run of an older version.
    """
    if not processes.is_main():
        processes.wait()
        yield Run(folder)
        return
    # A try that ended while it made the mark left nothing but a part of it.
    if any(entry.is_file() and not entry.match(".run.*.tmp.json") for entry in folder.rglob("*")):
        check_run(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}); choose another name or --runs-dir") from error
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another edgedistill works in {folder}; wait for it, or use another --runs-dir") from error
        if fresh:
            _clear(Run(folder))
        if not (folder / _MARK).exists():
            write_json(folder / _MARK, {"schema": _SCHEMA})
        processes.wait()
        yield Run(folder)
    finally:
        os.close(lock)


def is_run(folder: Path) -> bool:
    """Whether `folder` is a run of this version."""
    try:
        return bool(read_json(folder / _MARK)["schema"] == _SCHEMA)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _clear(run: Run) -> None:
    """Remove what steps and reports wrote, and nothing of the user's. The mark stays: a folder that was half emptied is a run still."""
    begun = [Declared.read(path) for path in run.work("records").glob("*.started.json")]
    outputs = [run.path(output) for declared in begun for output in declared.outputs]
    pages = [run.path(name) for name in ("report.html", "summary.json", "recipe.json")]
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
    raise UserError(f"{folder} exists and is not a run of edgedistill; choose another name or --runs-dir")


def newest(runs_dir: Path) -> Path:
    """The run in `runs_dir` that was worked on last; UserError when there is none."""
    runs = [mark.parent.parent for mark in runs_dir.glob(f"*/{_MARK}")]
    if not runs:
        for mark in runs_dir.glob(f"*/{_OLD_MARK}"):
            check_run(mark.parent)
        raise UserError(f"no run in {runs_dir}; make one with `edgedistill run recipes/quickstart.yaml`, or name a run's folder")
    return max(runs, key=lambda folder: max((p.stat().st_mtime for p in (folder / _WORK / "records").glob("*.json")), default=0.0))
