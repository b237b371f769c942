"""Jobs for the runner: what they hold here, and what they look like where it runs."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgedistill.measure.runner import job_types
from edgedistill.measure.runner.generation_types import GenerationSettings
from edgedistill.signature import MethodSignature, TensorSpec

SCHEMA = 3
Place = Callable[[Path], str]
"""Gives the path of a file where the runner works."""


def described_method(method: MethodSignature) -> job_types.Signature:
    """The `signature` of a job: name, dtype and shape of each input and output of a method, in their order."""
    return {"inputs": [_described(spec) for spec in method.inputs], "outputs": [_described(spec) for spec in method.outputs]}


def _described(spec: TensorSpec) -> job_types.Spec:
    return {"name": spec.name, "dtype": spec.dtype, "shape": [*spec.shape]}


def by_name(specs: Sequence[TensorSpec], paths: Path | Mapping[str, Path]) -> dict[str, Path]:
    """A .npy for each spec: in the folder `paths`, the file `paths` itself where there is one spec, or what the mapping says."""
    if isinstance(paths, Mapping):
        return dict(paths)
    if paths.suffix == ".npy" and len(specs) == 1:
        return {specs[0].name: paths}
    return {spec.name: paths / f"{spec.name}.npy" for spec in specs}


@dataclass(frozen=True)
class Side:
    """A file, the module of the adapter that runs it, what it takes and gives, and the .npy of each input by name."""

    adapter: str
    artifact: Path
    method: MethodSignature
    inputs: Mapping[str, Path]

    def __str__(self) -> str:
        return f"{self.artifact} with {self.adapter}"

    def placed(self, send: Place) -> job_types.JobSide:
        """The side as the job's file has it."""
        inputs = {name: send(path) for name, path in self.inputs.items()}
        return {
            "adapter": self.adapter, "artifact": send(self.artifact), "signature": described_method(self.method), "inputs": inputs
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What all jobs have: the conditions of the device (None: nothing is read or changed), and a text that the records repeat."""

    conditions: job_types.ConditionSettings | None = None
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def _common(self) -> job_types.Job:
        return {"schema": SCHEMA, "nonce": self.nonce, "conditions": self.conditions}


@dataclass(frozen=True, kw_only=True)
class RunJob(_Job):
    """Run the inputs of a file, and measure.

    outputs: the .npy to write for each output by name; None runs the first sample only. generation: beside `bench`, what to measure of a
    file with a state.
    """

    side: Side
    threads: int
    outputs: Mapping[str, Path] | None
    bench: job_types.BenchSettings | None
    generation: GenerationSettings | None = None

    def __str__(self) -> str:
        return str(self.side)

    def placed(self, send: Place, fetch: Place) -> job_types.RunJob:
        """The job as its file has it: files that are read go through `send`, those that are written through `fetch`."""
        outputs = None if self.outputs is None else {name: fetch(path) for name, path in self.outputs.items()}
        return {
            **self._common, **self.side.placed(send), "task": "run", "threads": self.threads, "outputs": outputs, "bench": self.bench,
            "generation": self.generation,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CompareJob(_Job):
    """Compare two files."""

    a: Side
    b: Side
    threads: int
    compare: job_types.CompareSettings

    def __str__(self) -> str:
        return f"{self.a} and {self.b}"

    def placed(self, send: Place, fetch: Place) -> job_types.CompareJob:
        """The job as its file has it; see `RunJob.placed`."""
        a, b = self.a.placed(send), self.b.placed(send)
        return {**self._common, "task": "compare", "a": a, "b": b, "threads": self.threads, "compare": self.compare}


@dataclass(frozen=True, kw_only=True)
class StressJob(_Job):
    """Load the device with a file."""

    side: Side
    threads: int
    stress: job_types.StressSettings

    def __str__(self) -> str:
        return str(self.side)

    def placed(self, send: Place, fetch: Place) -> job_types.StressJob:
        """The job as its file has it; see `RunJob.placed`."""
        return {**self._common, **self.side.placed(send), "task": "stress", "threads": self.threads, "stress": self.stress}


@dataclass(frozen=True, kw_only=True)
class ProgramJob(_Job):
    """Run a program of the user on a file.

    binary: a file of this machine, or the text of a path on the device. libraries: shared libraries by their names.
    """

    adapter: str
    artifact: Path
    binary: Path | str
    arguments: list[str]
    libraries: Mapping[str, Path]

    def __str__(self) -> str:
        return f"{self.artifact} with {self.adapter}"

    def placed(self, send: Place, fetch: Place) -> job_types.ProgramJob:
        """The job as its file has it; see `RunJob.placed`."""
        binary: job_types.Sent = {"artifact": send(self.binary) if isinstance(self.binary, Path) else self.binary}
        libraries: dict[str, job_types.Sent] = {name: {"artifact": send(path)} for name, path in self.libraries.items()}
        program: job_types.ProgramSettings = {"binary": binary, "arguments": self.arguments, "libraries": libraries}
        return {
            **self._common, "task": "program", "adapter": self.adapter, "artifact": send(self.artifact), "program": program
        }  # fmt: skip


Job = RunJob | CompareJob | StressJob | ProgramJob
