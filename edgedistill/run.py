"""A run folder: what is finished, from which inputs, with which outputs; and what can be resumed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from edgedistill import processes
from edgedistill.backends import formats
from edgedistill.errors import DamagedFile, UserError
from edgedistill.files import canonical_hash, remove, sha256_file, sha256_tree, write_json
from edgedistill.packages import installed
from edgedistill.progress import log
from edgedistill.provenance import code_hash
from edgedistill.records import Artifact, Lowered, NotLowered, Record
from edgedistill.records.steps import Declared, StepRecord

WORK = "work"
RECORDS = f"{WORK}/records"
MADE_AGAIN = "go on with `edgedistill run` of the run's recipe, which makes it again"
_STARTED = ".started.json"
_CHECKPOINTS = "checkpoint*.safetensors"
"""What a training goes on from. They have checksums of their own."""


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

    def __init__(self, folder: Path, *, shown: Path | None = None) -> None:
        self.folder = folder
        self.shown = shown or folder
        """The folder as the user knows it: another one where this is a copy of a run that can't be written."""
        self._hashes: dict[tuple[str, int, int, int], str] = {}

    @property
    def borrowed(self) -> bool:
        """Whether this is a copy of a run that can't be written: what is made in it is lost."""
        return self.shown != self.folder

    def path(self, *parts: str) -> Path:
        """A path inside the run."""
        return self.folder.joinpath(*parts)

    def work(self, *parts: str) -> Path:
        """A path inside the folder of the steps; the first part is the name of a step."""
        return self.folder.joinpath(WORK, *parts)

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
            return self.made(step.name)
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
        folder, record, started = self.work(step.name), self._record(step.name), self.work("records", f"{step.name}{_STARTED}")
        step_record, begun = self._step_record(step.name), self.begun(step.name)
        if step_record is not None:
            again |= _failed(step_record.result)
            if not again and step_record.declared == declared and self._contents(step) == step_record.outputs:
                return step_record
            if not again and step_record.declared != declared:
                log(f"{step.name} is done again, {_difference(step_record.declared, declared)}")
            elif not again:
                log(f"{step.name} is done again: what it wrote was changed or damaged since")
                _keep_checkpoints(folder)
        elif record.exists():
            log(f"{step.name} is done again: {record} is damaged")
        record.unlink(missing_ok=True)
        if again or begun != declared:
            earlier = begun.outputs if begun is not None else []
            for path in (folder, *(self.path(output) for output in {*earlier, *step.outputs})):
                remove(path)
            declared.write(started)
        if folder.is_symlink():
            # Of a borrowed run, whose own folder stays as it is.
            folder.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        for output in step.outputs:
            self.path(output).parent.mkdir(parents=True, exist_ok=True)
        return None

    def _step_record(self, name: str) -> StepRecord | None:
        """The record of a finished step; None where there is none, or none of this step."""
        try:
            step_record = StepRecord.read(self._record(name))
        except DamagedFile:
            return None
        # What was written names the step.
        return step_record if f"{WORK}/{name}" in step_record.outputs else None

    def steps(self) -> list[str]:
        """The names of the steps that were begun."""
        return [path.name.removesuffix(_STARTED) for path in sorted(self.path(RECORDS).glob(f"*{_STARTED}"))]

    def begun(self, name: str) -> Declared | None:
        """What the last try of a step was made of; None where that is not known."""
        try:
            return Declared.read(self.work("records", f"{name}{_STARTED}"))
        except DamagedFile:
            finished = self._step_record(name)
            return None if finished is None else finished.declared

    def check(self, name: str) -> None:
        """Raise DamagedFile unless a step is done, and all is still there that it wrote."""
        finished = self._step_record(name)
        if finished is None:
            raise DamagedFile(self._record(name), f"is missing or damaged; {MADE_AGAIN}")
        for path, sha256 in finished.outputs.items():
            if (self.content(path) if self.path(path).exists() else None) != sha256:
                raise DamagedFile(self.path(path), f"is not what was written there: it was changed or damaged; {MADE_AGAIN}")

    def _contents(self, step: Step) -> dict[str, str | None]:
        """The hash of what a step wrote, by path; None for what is not there."""
        paths = [f"{WORK}/{step.name}", *step.outputs]
        return {path: self.content(path) if self.path(path).exists() else None for path in paths}

    def content(self, path: str) -> str:
        """SHA-256 of a file of the run, or of a folder's relative names and contents. Raises UserError when it is missing."""
        whole = self.path(path)
        if whole.is_file():
            return self._hash(whole)
        if not whole.is_dir():
            raise DamagedFile(whole, f"is missing; {MADE_AGAIN}")
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
        finished = self._step_record(name)
        return None if finished is None else finished.result

    def finished(self, name: str) -> bool:
        """Whether a step was done; some have no result."""
        return self._step_record(name) is not None

    def made(self, name: str) -> Any:
        """The result of a step that has to be finished; raises DamagedFile where it is not."""
        finished = self._step_record(name)
        if finished is None:
            raise DamagedFile(self._record(name), f"is missing or damaged; {MADE_AGAIN}")
        return finished.result

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
        todo = f"`edgedistill export {self.shown}` makes it again"
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
            raise UserError(f"found no artifact {name} in {self.shown}, expected one of {', '.join(artifacts) or 'none'}")
        return artifacts[name]

    def versions(self, name: str) -> dict[str, str]:
        """The versions of the packages that a finished step was done with; empty where it was not done."""
        finished = self._step_record(name)
        return {} if finished is None else finished.versions

    def seconds(self, prefix: str) -> float:
        """How long the finished steps whose name begins with `prefix` took when they were made, in seconds."""
        records = [
            self._step_record(path.stem) for path in self.work("records").glob(f"{prefix}*.json") if not path.name.endswith(_STARTED)
        ]
        return sum(finished.seconds for finished in records if finished is not None)


def _keep_checkpoints(folder: Path) -> None:
    """Remove all files of a step but those that a training goes on from."""
    for path in folder.rglob("*") if not folder.is_symlink() else ():
        if not path.is_dir() and not path.match(_CHECKPOINTS):
            path.unlink()


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
