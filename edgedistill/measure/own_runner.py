"""Measures a model with a benchmark program of the user (`--runner`), under the same protocol as other measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import harness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgedistill.measure.harness import Protocol
    from edgedistill.measure.places import Place
    from edgedistill.measure.runner.record_types import Program as ProgramOutput
    from edgedistill.measure.runner.record_types import Record
    from edgedistill.records.measurements import Measurement, Program, Setup

_ADAPTER = "edgedistill.measure.runner.program"
_TIMEOUT_S = 3600.0
_NO_OUTPUTS = "the program runs on inputs of its own and keeps no outputs, so its results cannot be verified"


def bench_with(
    binary: str, model: Path, spec: str, protocol: Protocol, *, kind: str | None = None, extra: Sequence[str] = (), save: str | None = None
) -> Measurement:
    """Measure `model` on the device `spec` with the program `binary`: a file of this machine, or else a path on the device.

    Its shared libraries are sent with it if they lie beside it. The measurement has the latencies that the program prints, and is stored.
    Raises UserError for a program of unknown kind or for another machine, and for a model that it does not take; DeviceFailed for a device
    that can't be reached. A failed measurement has a record too.
    """
    from edgedistill.backends import of_suffix
    from edgedistill.files import sha256_file
    from edgedistill.measure import binaries, document
    from edgedistill.measure.places import place
    from edgedistill.records.measurements import MeasuredFile, Program

    kind = binaries.kind_of(binary, kind)
    binaries.check(kind, model.name)
    if not model.is_file():
        raise UserError(f"no such file: {model}")
    backend = of_suffix(model)
    artifact = MeasuredFile(
        name=model.name, file=str(model), format=backend.format if backend else model.suffix, precision=None, bytes=model.stat().st_size,
        sha256=sha256_file(model),
    )  # fmt: skip
    here = Path(binary).is_file()
    program = Program(path=binary, kind=kind, sha256=sha256_file(Path(binary)) if here else None)
    with place(spec, python=protocol.python, mirror=protocol.mirror) as where:
        if here:
            _check_machine(Path(binary), where)
        build = f"{kind} of the user's own build"
        setup = document.setup("bench", where.facts, artifact, adapter=_ADAPTER, build=build, threads=protocol.threads)
        try:
            return _measure(where, model, program, protocol, setup, extra, save)
        except DeviceFailed as error:
            return document.failed(setup, protocol.asked, str(error), program)


def _measure(
    where: Place, model: Path, program: Program, protocol: Protocol, setup: Setup, extra: Sequence[str], save: str | None
) -> Measurement:
    from edgedistill.measure import binaries, document
    from edgedistill.measure.job import ProgramJob
    from edgedistill.measure.series import series_of
    from edgedistill.measure.validity import judge
    from edgedistill.records import Unavailable
    from edgedistill.records.measurements import Measurement

    spec = where.facts.spec

    def run(arguments: list[str]) -> tuple[str, tuple[list[Record], ProgramOutput, Path]]:
        binary = Path(program.path)
        job = ProgramJob(
            adapter=_ADAPTER, artifact=model, binary=binary if binary.is_file() else program.path, arguments=arguments,
            libraries=_libraries(binary), conditions=protocol.conditions,
        )  # fmt: skip
        kept = harness.records_path(spec, job.nonce)
        records = where.run(job, log=harness.log_path(spec), timeout_s=_TIMEOUT_S, records=kept, reduce=list)
        printed = next(record for record in records if record["type"] == "program")
        return printed["text"], (records, printed, kept)

    figures, (records, printed, kept) = binaries.drive(
        program.kind, run, threads=protocol.threads, seconds=protocol.asked.min_s, extra=extra
    )
    peak_rss_mb, peak_rss_source = figures.peak_rss_mb, figures.peak_rss_source
    if isinstance(peak_rss_mb, Unavailable) and printed["peak_rss"]:
        peak_rss_mb, peak_rss_source = printed["peak_rss"] / 2**20, "VmHWM of the whole program, read each 0.1 s"
    validity, reasons = judge(where.facts.emulated, records, series_of(records))
    measurement = Measurement(
        **dict(setup),
        **dict(document.sensed(records)),
        protocol=protocol.asked,
        program=program,
        command=printed["command"],
        validity=validity,
        reasons=reasons,
        versions={},
        facts=next(record["facts"] for record in records if record["type"] == "start"),
        load_ms=figures.load_ms,
        first_inference_ms=figures.first_inference_ms,
        latency_ms=figures.latency_ms,
        intervals_ms=Unavailable(unavailable="the program prints no single durations of which an interval could be made"),
        steady=Unavailable(unavailable="the program prints no single durations"),
        peak_rss_mb=peak_rss_mb,
        peak_rss_source=peak_rss_source,
        llm=figures.llm,
        outputs=Unavailable(unavailable=_NO_OUTPUTS),
    )
    return harness.stored(measurement, kept, save and harness.saved_as(save, measurement))


def _libraries(binary: Path) -> dict[str, Path]:
    """The shared libraries in the folder of `binary` that it needs, directly or indirectly, by name."""
    from edgedistill.measure.kit import elf

    libraries: dict[str, Path] = {}
    waiting = [binary] if binary.is_file() else []
    while waiting:
        data = waiting.pop().read_bytes()
        for name in elf.read(data).needed if elf.is_elf(data) and data[4] == elf.CLASS_64 else ():
            library = binary.parent / name
            if name not in libraries and library.is_file():
                libraries[name] = library
                waiting.append(library)
    return libraries


def _check_machine(binary: Path, where: Place) -> None:
    from edgedistill.measure.kit import elf

    data, machine = binary.read_bytes(), where.facts.machine
    if not elf.is_elf(data) or data[4] != elf.CLASS_64:
        # A script, or a 32-bit program, which a 64-bit system may run.
        return
    if (target := elf.read(data).machine) != machine:
        raise UserError(f"{binary} is a program for {target}, and {where.facts.spec} is {machine}")
