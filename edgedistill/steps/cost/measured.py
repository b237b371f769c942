"""Finds what was measured of a student and its teacher: in a run, or in what `edgedistill bench --json` printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from edgedistill.errors import UserError
from edgedistill.files import read_json, reading
from edgedistill.recipe.base import nearest
from edgedistill.records import ArtifactResult, Latency, Record, Unavailable
from edgedistill.records.cost import InferenceEnergy, MeasuredStudent, RequestLatency
from edgedistill.records.documents import BenchedFile
from edgedistill.records.generation import Generation
from edgedistill.records.measurements import Energy, Measurement
from edgedistill.records.stored import AnyMeasurement, DeviceBench, FleetBench, Results
from edgedistill.runs import check_run

_LOCAL = "local"
_NO_ENERGY = "bench measures energy on devices only: edgedistill bench --device"
_EXPECTED = "a run, or a file of what `edgedistill bench --json` printed"


class _Figures(Record):
    """What counts of a run's summary, and of what `bench RUN` printed."""

    artifacts: list[ArtifactResult]
    devices: list[AnyMeasurement] = Field([])


class Candidate(MeasuredStudent):
    """A student with what was measured of it beyond what the document of costs shows."""

    generation: Generation | None = Field(None, description="Of a file that keeps a state.")


@dataclass(frozen=True)
class Measured:
    """What a run or a document of `bench` tells."""

    students: list[Candidate]
    """Each file on each device, those of devices first and the newest first."""
    teacher: RequestLatency | None
    """Of the run's own teacher, where it was measured."""


def read(run_or_file: Path) -> Measured:
    """What was measured. Raises UserError where `run_or_file` is neither a run nor a document of `bench`, or is damaged."""
    if run_or_file.is_dir():
        check_run(run_or_file)
        path = run_or_file / "summary.json"
        if not path.is_file():
            raise UserError(f"{run_or_file} has no summary.json yet; go on with `edgedistill run` of its recipe, which measures its files")
        return _of_run(_Figures.read(path))
    if not run_or_file.is_file():
        raise UserError(f"found no run and no file {run_or_file}, expected {_EXPECTED}")
    document = read_json(run_or_file)
    with reading(run_or_file):
        measured = _of_document(document) if isinstance(document, dict) else None
    if measured is None:
        raise UserError(f"{run_or_file} holds something else, expected {_EXPECTED}")
    if not measured.students:
        raise UserError(f"{run_or_file} holds no measurement of a student, expected {_EXPECTED}")
    return measured


def choose(measured: Measured, artifact: str | None, device: str | None) -> Candidate:
    """The student that was asked for; by default an int8 file before others, and one whose latency is known.

    Raises UserError, which lists what there is, where nothing fits.
    """
    fitting = [one for one in measured.students if artifact in (None, one.name) and device in (None, one.device)]
    if not fitting:
        asked = " on ".join(name for name in (artifact or "a file", device) if name)
        known = list(dict.fromkeys(f"{one.name} on {one.device}" for one in measured.students))
        raise UserError(f"found no measurement of {asked}, expected one of {', '.join(known)}{nearest(asked, known)}")
    return min(fitting, key=lambda one: (one.precision != "int8", isinstance(one.latency_ms.p50, Unavailable) and one.tokens is None))


def _of_document(document: dict[str, Any]) -> Measured | None:
    """What a document of a command tells; None for one without measurements."""
    if "artifacts" in document:
        return _of_run(_Figures.model_validate(document))
    if "devices" in document:
        benches = [bench for bench in FleetBench.model_validate(document).devices if isinstance(bench, DeviceBench)]
        return Measured(_of_measurements(one for bench in benches for one in bench.measurements), None)
    if "measurements" in document:
        # Of `results` too, which may hold other kinds.
        measurements = Results.model_validate({"measurements": [{"name": None} | one for one in document["measurements"]]}).measurements
        return Measured(_of_measurements(one for one in measurements if isinstance(one, Measurement)), None)
    if "latency_ms" in document and "file" in document:
        return Measured([_of_file(BenchedFile.model_validate(document))], None)
    return None


def _of_run(figures: _Figures) -> Measured:
    """What was measured of a run: on devices, and on this machine."""
    here = [
        Candidate(
            name=a.name, bytes=a.bytes, precision=a.precision, device=_LOCAL, validity=None, reasons=[], tokens=None,
            generation=a.generation if isinstance(a.generation, Generation) else None,
            latency_ms=_latency(a.latency_ms, f"{a.name} on this machine"), energy=Unavailable(unavailable=_NO_ENERGY),
        )
        for a in figures.artifacts if a.role == "student"
    ]  # fmt: skip
    teachers = [_latency(a.latency_ms, f"{a.name} on this machine") for a in figures.artifacts if a.role == "teacher"]
    students = _of_measurements(one for one in figures.devices if isinstance(one, Measurement)) + here
    return Measured(students, teachers[0] if teachers else None)


def _of_file(file: BenchedFile) -> Candidate:
    name = Path(file.file).name
    return Candidate(
        name=name, bytes=file.bytes, precision=None, device=_LOCAL, validity=None, reasons=[], tokens=None,
        generation=file.generation if isinstance(file.generation, Generation) else None,
        latency_ms=_latency(file.latency_ms, f"{name} on this machine"), energy=Unavailable(unavailable=_NO_ENERGY),
    )  # fmt: skip


def _of_measurements(measurements: Iterable[Measurement]) -> list[Candidate]:
    """What was measured on devices, the newest first."""
    return [
        Candidate(
            name=one.artifact.name, bytes=one.artifact.bytes, precision=one.artifact.precision, device=one.device.spec,
            validity=one.validity, reasons=one.reasons, tokens=one.llm,
            generation=one.generation if isinstance(one.generation, Generation) else None,
            latency_ms=_latency(one.latency_ms, f"{one.artifact.name} on {one.device.spec}"), energy=_energy(one.energy),
        )
        for one in sorted(measurements, key=lambda one: one.created, reverse=True)
    ]  # fmt: skip


def _latency(latency: Latency | Unavailable, what: str) -> RequestLatency:
    if isinstance(latency, Unavailable):
        return RequestLatency(p50=latency, p95=latency, source=f"{what}, measured")
    return RequestLatency(p50=latency.p50, p95=latency.p95, source=f"{what}, measured")


def _energy(energy: Energy | Unavailable | None) -> InferenceEnergy | Unavailable:
    if energy is None:
        return Unavailable(unavailable="the measurement has no energy: the program of the user that ran the file gives none")
    if isinstance(energy, Unavailable):
        return energy
    if isinstance(energy.mj_per_inference, Unavailable):
        return energy.mj_per_inference
    if energy.mj_per_inference <= 0:
        return Unavailable(unavailable=f"{energy.mj_per_inference:.3g} mJ were measured: the load can't be told from the idle device")
    return InferenceEnergy(mj_per_inference=energy.mj_per_inference, interval=energy.interval, source=energy.source)
