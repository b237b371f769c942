"""Measures files on devices under the protocol: compares their outputs with this machine's, times, judges and stores them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgedistill import scratch
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.files import write_json
from edgedistill.measure import benchfile
from edgedistill.measure.generation import NO_STATE, Asked, Stateful, asked, counted, stateful
from edgedistill.measure.inputs import taken
from edgedistill.measure.job import Side, by_name
from edgedistill.progress import log, track

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.measure.places import Place
    from edgedistill.measure.runner.job_types import BenchSettings, ConditionSettings, InaChip, SensorOptions
    from edgedistill.records import Unavailable
    from edgedistill.records.measurements import BenchProtocol, ComparedOutput, EqualIntegers, Measured, MeasuredFile, Measurement, Outputs
    from edgedistill.run import Run
    from edgedistill.signature import MethodSignature
    from edgedistill.verify.judge import Decide

PROJECT = Path(".edgedistill")
_SAMPLES = 16
_TIMEOUT_S = 3600.0
Kind = TypeVar("Kind", bound="Measured")
"""A kind of measurement."""


@dataclass(frozen=True)
class Protocol:
    """The options of a measurement; see docs/devices.md.

    prompts, new_tokens: lengths of prompts, and new tokens behind each, where a file keeps a state; None takes the usual ones.
    """

    preset: str = "standard"
    seconds: float | None = None
    threads: int = 1
    cores: str | list[int] | None = None
    governor: str | None = None
    cool_to: float | None = None
    python: str | None = None
    mirror: str | None = None
    meter: str | None = None
    ina: Sequence[str] = ()
    prompts: Sequence[int] | None = None
    new_tokens: int | None = None

    def __post_init__(self) -> None:
        from edgedistill.measure.presets import PRESETS

        if self.preset not in PRESETS:
            raise UserError(f"--preset: found '{self.preset}', expected {', '.join(PRESETS)}")

    @property
    def asked(self) -> BenchProtocol:
        """The settings of the preset, changed by `seconds`, the minimum time of sampling."""
        from edgedistill.measure.presets import PRESETS

        settings = PRESETS[self.preset]
        if self.seconds is None:
            return settings
        return settings.model_copy(update={"min_s": self.seconds, "max_s": max(self.seconds, settings.max_s)})

    @property
    def sampling(self) -> BenchSettings:
        """The settings `bench` of its jobs."""
        asked = self.asked
        return {
            "warmup_s": asked.warmup_s, "relative_width": asked.relative_width, "min_s": asked.min_s, "max_s": asked.max_s,
            "min_samples": asked.min_samples,
        }  # fmt: skip

    @property
    def sensors(self) -> SensorOptions:
        """Options of the sensors: the power monitors that `ina` names, each as chip=ina226,bus=1,address=0x40,shunt_ohm=0.1,name=board."""
        chips: list[InaChip] = []
        for text in self.ina:
            entry = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
            try:
                chip, bus, address = entry["chip"], int(entry["bus"], 0), int(entry["address"], 0)
                shunt_ohm, name = float(entry.get("shunt_ohm", 0)), entry.get("name", chip)
            except (KeyError, ValueError) as error:
                raise UserError(f"--ina: found '{text}', expected chip=ina226,bus=1,address=0x40,shunt_ohm=0.1,name=board") from error
            chips.append({"chip": chip, "bus": bus, "address": address, "shunt_ohm": shunt_ohm, "name": name})
        return {"ina": chips} if chips else {}

    @property
    def conditions(self) -> ConditionSettings:
        """The conditions of its jobs."""
        from edgedistill.measure import presets

        return presets.conditions(self.preset, cool_to=self.cool_to, cores=self.cores, governor=self.governor, sensors=self.sensors)


@dataclass(frozen=True)
class Subject:
    """One file to measure.

    method: what it takes and gives; inputs: the samples of each input, [N, ...]; expected: this machine's outputs for them by name, or
    None; lsb: the scale of each quantized output of an int8 file, or None. decide: what is decided of each sample, see `Task.decide`.
    state: how a file is called that keeps a state, or why it is not measured as one.
    """

    path: Path
    name: str
    format: str
    precision: str
    bytes: int
    sha256: str
    method: MethodSignature
    inputs: dict[str, Path]
    expected: dict[str, np.ndarray] | None
    lsb: dict[str, float] | None
    decide: Decide | None = None
    state: Stateful | Unavailable = NO_STATE

    @property
    def artifact(self) -> MeasuredFile:
        """The file as its measurements name it."""
        from edgedistill.records.measurements import MeasuredFile

        return MeasuredFile(
            name=self.name, file=str(self.path), format=self.format, precision=self.precision, bytes=self.bytes, sha256=self.sha256
        )  # fmt: skip


@contextmanager
def of_run(run: Run) -> Iterator[list[Subject]]:
    """The artifacts of a run that a device's processor can run, with the first samples of val."""
    from edgedistill import tasks
    from edgedistill.backends import backend
    from edgedistill.export.fitting import of_file
    from edgedistill.export.programs import load_signature
    from edgedistill.files import sha256_tree, tree_bytes
    from edgedistill.recipe.loading import recorded
    from edgedistill.recipe.precisions import is_static
    from edgedistill.verify import stored

    scale = run.made("programs")["output_scale"]
    decide = tasks.task(recorded(run.folder).task).decide
    with ExitStack() as stack:
        subjects = []
        for artifact in run.artifacts():
            path, outputs = run.path(artifact.path), stored.outputs(run, artifact.name, "val")
            parts = stored.parts(run, artifact, "val")
            if not parts or not backend(artifact.format).measured_here or artifact.delegate or not outputs:
                continue
            signature = of_file(load_signature(run.work(artifact.program)), artifact)
            sizes, places = parts[-1]
            method = signature.forward.with_sizes(sizes)
            samples = run.path(stored.SAMPLES["val"])
            inputs = stack.enter_context(taken(samples, method, artifact.input, first=_SAMPLES, places=places))
            chosen = slice(_SAMPLES) if places is None or artifact.sizes else places[:_SAMPLES]
            expected = {name: values[chosen] for name, values in outputs.items()}
            lsb = scale if is_static(artifact.precision) else None
            file = (path, artifact.name, artifact.format, artifact.precision, tree_bytes(path), sha256_tree(path))
            piece = backend(artifact.format).prompt_pieces.get(artifact.precision)
            subjects.append(Subject(*file, method, inputs, expected, lsb, decide, stateful(signature, piece=piece)))
        if not subjects:
            raise UserError(f"{run.folder} has no artifact that was executed here; make them with `edgedistill export {run.folder}`")
        yield subjects


@contextmanager
def of_file(path: Path, *, run: bool = True) -> Iterator[list[Subject]]:
    """One model file, with random samples; expected outputs are those of this machine's runtime, if `run` is set."""
    from edgedistill.backends.inspect.precision import precision_of

    facts, method = benchfile.facts_of(path)
    state = benchfile.state_of(path, facts)
    with scratch.temporary() as folder:
        benchfile.write_random_samples(folder, method, _SAMPLES, counted(state))
        expected = benchfile.outputs_here(path, facts.format, method, folder, log_path("local")) if run else None
        file = (path, path.name, facts.format, precision_of(facts), facts.bytes, facts.sha256)
        yield [Subject(*file, method, by_name(method.inputs, folder), expected, None, state=state)]


def bench(subjects: list[Subject], spec: str, protocol: Protocol, *, save: str | None = None) -> list[Measurement]:
    """Measure each subject on the device `spec`; returns the measurements in the same order, which are also in the project's store.

    Raises UserError for an unknown device or one in use, DeviceFailed if it can't be reached. A failed measurement has a record too.
    """
    from edgedistill.measure.places import place

    generation = [asked(subject.state, protocol.prompts, protocol.new_tokens) for subject in subjects]
    with place(spec, python=protocol.python, mirror=protocol.mirror) as where, track(f"bench on {spec}", len(subjects)) as progress:
        measurements = []
        for subject, what in zip(subjects, generation, strict=True):
            measurements.append(_measure(where, subject, protocol, what, save))
            progress.advance(1, last=subject.name)
    return measurements


def _measure(where: Place, subject: Subject, protocol: Protocol, generation: Asked | Unavailable, save: str | None) -> Measurement:
    import numpy as np

    from edgedistill.measure import document
    from edgedistill.measure.job import RunJob
    from edgedistill.measure.metering import metering
    from edgedistill.measure.records import to_execution
    from edgedistill.records import Unavailable

    spec = where.facts.spec
    setup = where.setup("bench", subject.artifact, protocol.threads)
    with scratch.temporary() as folder:
        outputs = by_name(subject.method.outputs, folder)
        try:
            job = RunJob(
                side=side(subject, where), threads=protocol.threads, outputs=outputs, bench=protocol.sampling,
                generation=None if isinstance(generation, Unavailable) else generation.settings, conditions=protocol.conditions,
            )  # fmt: skip
            kept = records_path(spec, job.nonce)
            with metering(protocol.meter, where.device) as power:
                records, execution = where.run(
                    job, log=log_path(spec), timeout_s=_TIMEOUT_S, records=kept,
                    reduce=lambda records: (records, to_execution(records, outputs)),
                )  # fmt: skip
                meters = power(records)
        except DeviceFailed as error:
            log(f"error: {error}")
            return document.failed(setup, protocol.asked, str(error))
        compared = compare_outputs({name: np.load(path) for name, path in outputs.items()}, subject)
    measurement = document.measurement(setup, protocol.asked, where.facts.emulated, execution, records, meters, compared, generation)
    return stored(measurement, kept, save and saved_as(save, measurement))


def saved_as(name: str, measurement: Measurement) -> str:
    """The name in the store of a measurement that is saved as `name`."""
    return f"{name}/{measurement.device.spec}/{measurement.artifact.name}"


def held_against(measurement: Measurement, name: str) -> Measurement:
    """A measurement with its `regression` from the baseline `name` for the same device and file, or why there is none."""
    from edgedistill.measure import store
    from edgedistill.measure.regression import regression
    from edgedistill.records import Unavailable

    if measurement.id is None:
        return measurement
    try:
        with store.opened() as measurements:
            sessions = measurements.sessions(saved_as(name, measurement), before=measurement.id)
            return measurement.model_copy(update={"regression": regression(sessions, measurement)})
    except UserError as error:
        return measurement.model_copy(update={"regression": Unavailable(unavailable=str(error))})


def compare_outputs(outputs: Mapping[str, np.ndarray], subject: Subject) -> Outputs:
    """The device's outputs [N, ...] by name, compared with this machine's."""
    from edgedistill.records import Unavailable
    from edgedistill.records.measurements import ComparedOutputs
    from edgedistill.verify import judge

    if subject.expected is None:
        return Unavailable(unavailable="this machine has no outputs of the file to compare with")
    flipped, lsb = judge.flips(outputs, subject.expected, subject.decide), subject.lsb or {}
    compared = {name: _compared(outputs[name], expected, lsb.get(name), flipped) for name, expected in subject.expected.items()}
    if len(compared) == 1:
        (output,) = compared.values()
        return output
    return ComparedOutputs(ok=all(output.ok for output in compared.values()), by_output=compared)


def _compared(output: np.ndarray, expected: np.ndarray, lsb: float | None, flips: int | None) -> ComparedOutput | EqualIntegers:
    """One output [N, ...]: of int8 files in steps of its scale, other floats as a share of the largest, integers for equality."""
    import numpy as np

    from edgedistill.records.measurements import ComparedOutput, EqualIntegers
    from edgedistill.verify import parity

    equal = bool(np.array_equal(output, expected))
    if expected.dtype.kind != "f":
        return EqualIntegers(ok=equal, equal=equal, rule="equal integers")
    if lsb is not None:
        return ComparedOutput(**dict(parity.quantized_parity(output, expected, lsb, flips)))
    # Kernels for other instruction sets sum in another order, and some devices compute in float16.
    limit = parity.FLOAT_LIMITS["fp16"]
    return ComparedOutput(**dict(parity.float_parity(output, expected, relative_limit=limit, flips=flips)), equal=equal)


def stored(measurement: Kind, kept: Path, name: str | None) -> Kind:
    """Store a measurement and its raw records in the project; returns it with its `id`."""
    from edgedistill.measure import store

    with store.opened() as measurements:
        number = measurements.save(measurement, kept.read_bytes(), name)
    kept.unlink()
    return measurement.model_copy(update={"id": number})


def keep(run: Run, spec: str, measurements: list[Measurement]) -> None:
    """Save the measurements of a device in the run for its report. They replace earlier ones of the same device."""
    write_json(run.work("devices", f"{_slug(spec)}.json"), [measurement.model_dump(mode="json") for measurement in measurements])


def side(subject: Subject, where: Place) -> Side:
    """A subject with the adapter that runs it on a device. Raises DeviceFailed where nothing does."""
    return Side(where.adapter(subject.format), subject.path, subject.method, subject.inputs)


def records_path(spec: str, nonce: str) -> Path:
    """The path of a job's records until they are stored. If the job fails, they stay there."""
    return PROJECT / "records" / f"{_slug(spec)}-{nonce[:8]}.jsonl"


def log_path(spec: str) -> Path:
    """The log of a device's runners."""
    return PROJECT / "logs" / f"{_slug(spec)}.log"


def _slug(spec: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", spec)
