"""The command stress: a device under load for minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.harness import ProtocolOptions, arguments, protocol_of
from edgedistill.cli.output import finish
from edgedistill.cli.parallel import on_each
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.measure.harness import Subject
    from edgedistill.measure.local import Seen
    from edgedistill.measure.records import Record
    from edgedistill.measure.runner.job_types import StressSettings
    from edgedistill.records import Unavailable
    from edgedistill.records.stored import FleetStress
    from edgedistill.records.stress import Estimate, Hours, StressDocument, StressFigures, StressLoad


def stress(
    run_or_file: Path | None, artifact: str | None, devices: list[str], fleet: Path | None, options: ProtocolOptions, load: StressSettings,
    report: Path | None, runs_dir: Path, *, as_json: bool,
) -> None:  # fmt: skip
    """Load a device.

    artifact: which one of a run, its first int8 file when None. report: where to draw the measurement as HTML, or None.
    """

    def work() -> StressDocument | FleetStress:
        from edgedistill.measure import stressing
        from edgedistill.measure.fleet import resolve
        from edgedistill.records.stored import FleetStress
        from edgedistill.records.stress import StressDocument, StressLoad
        from edgedistill.steps import flow

        asked = StressLoad(**load)
        _check(asked)
        chosen = run_or_file if run_or_file is not None else flow.newest_run(runs_dir)
        protocol = protocol_of(options)
        specs = resolve(devices or ["local"], fleet)
        if len(specs) > 1:
            words = arguments({**options, **load, "minutes": asked.seconds / 60, "seconds": None, "artifact": artifact})
            status, documents = on_each(["stress", str(chosen), *words], specs, StressDocument)
            return FleetStress(status=status, devices=documents)
        (device,) = specs
        with subject_of(chosen, artifact) as subject, _progress(device, asked.seconds) as seen:
            document = StressDocument(**dict(stressing.stress(subject, device, protocol, asked, seen=seen)))
        if report is None:
            return document
        from edgedistill.report.devices import write_device_report

        return document.model_copy(update={"report": str(write_device_report([document], report))})

    finish(as_json, work, show, restores=True)


def _check(load: StressLoad) -> None:
    """Raise UserError for a load that cannot be: the device would find it out only after everything was sent."""
    from edgedistill.errors import UserError
    from edgedistill.measure.runner.pace import pace

    try:
        pace(load.mode, load.rate_hz, load.burst_s, load.pause_s)
    except ValueError as error:
        raise UserError(str(error)) from error
    if load.seconds <= 0 or load.instances < 1:
        raise UserError(f"stress: found {load.seconds:g} s and {load.instances} instances, expected more than 0 s and 1 or more")


@contextmanager
def subject_of(run_or_file: Path, artifact: str | None) -> Iterator[Subject]:
    """The file to load a device with: a model file, or of a run the one named `artifact` or the first int8 file."""
    from contextlib import ExitStack

    from edgedistill.backends import of_suffix
    from edgedistill.errors import UserError
    from edgedistill.measure import harness
    from edgedistill.runs import check_run, open_run

    with ExitStack() as stack:
        if not run_or_file.is_dir() or of_suffix(run_or_file):
            yield stack.enter_context(harness.of_file(run_or_file, run=False))[0]
            return
        check_run(run_or_file)
        subjects = stack.enter_context(harness.of_run(stack.enter_context(open_run(run_or_file))))
        if artifact is None:
            yield min(subjects, key=lambda subject: subject.precision != "int8")
            return
        by_name = {subject.name: subject for subject in subjects}
        if artifact not in by_name:
            raise UserError(f"{run_or_file} has no artifact '{artifact}' that can be loaded; it has {', '.join(by_name)}")
        yield by_name[artifact]


@contextmanager
def _progress(device: str, seconds: float) -> Iterator[Seen]:
    from edgedistill.progress import track

    with track(f"stress on {device}, seconds", round(seconds)) as bar:
        begun, shown = 0, 0

        def seen(records: list[Record]) -> None:
            nonlocal begun, shown
            for record in records:
                if record["type"] == "stress_start":
                    begun = record["t0_ns"]
                elif record["type"] == "instance":
                    passed = min(round((record["t0_ns"] - begun) / 1e9), round(seconds))
                    if passed > shown:
                        took = record["durations_ns"]
                        bar.advance(passed - shown, ms=sum(took) / len(took) / 1e6)
                        shown = passed

        yield seen


def show(document: StressDocument | FleetStress) -> None:
    """A table with a line for each figure, then what went wrong; of several devices one after the other."""
    from rich.table import Table
    from rich.text import Text

    from edgedistill.records.stored import FailedDevice, FleetStress
    from edgedistill.records.stress import StressFigures

    if isinstance(document, FleetStress):
        for device in document.devices:
            if isinstance(device, FailedDevice):
                print(f"{device.device}: {device.error}")
            else:
                show(device)
        return
    screen, figures = console(), document.stress
    if isinstance(figures, StressFigures):
        name = f"{document.artifact.name} on {document.device.spec}"
        table = Table(title=f"{name}: {figures.mode}, {len(figures.instances)} instance(s), {figures.ran_s:.0f} s", show_header=False)
        for row in rows(figures):
            table.add_row(*map(Text, row))
        screen.print(table)
    for line in lines(document):
        screen.print(line, markup=False, highlight=False, soft_wrap=True)


def rows(figures: StressFigures) -> list[tuple[str, str]]:
    """What each figure is and how it reads; one that is unavailable reads so, with the reason."""
    from edgedistill.records import Unavailable
    from edgedistill.records.stress import UnknownMemory

    rate, latency = figures.throughput, figures.latency_ms
    initial, sustained, ratio = (rate,) * 3 if isinstance(rate, Unavailable) else (rate.initial, rate.sustained, rate.ratio)
    percentiles = (("p50", latency.p50), ("p95", latency.p95), ("p99", latency.p99))
    cells = [
        ("initial throughput", _figure(initial, "{:.1f} inferences/s")),
        ("sustained throughput", _figure(sustained, "{:.1f} inferences/s")),
        ("sustained of initial", _figure(ratio, "{:.3f}")),
        ("latency, ms", ", ".join(f"{name} {_figure(value, '{:.3f}')}" for name, value in percentiles)),
    ]
    if figures.rate:
        late = f"late p50 {figures.rate.late_ms.p50:.2f} ms, p99 {figures.rate.late_ms.p99:.2f} ms"
        cells.append(("rate", f"{figures.rate.achieved_hz:.2f} of {figures.rate.asked_hz:g} Hz; {late}"))
    if isinstance(figures.temperature, Unavailable):
        cells.append(("temperature", _figure(figures.temperature, "")))
    else:
        for name, heat in figures.temperature.items():
            peak = f"peak {heat.peak_c:.1f} after {heat.peak_at_s:.0f} s"
            cells.append((name, f"{heat.start_c:.1f} to {heat.end_c:.1f} °C, {peak}"))
    room, battery = figures.headroom, figures.battery_hours
    least = _figure(room, "") if isinstance(room, Unavailable) else f"{room.min_left:.2f} at the least"
    cells.append(("thermal headroom left", least))
    cells.append(("battery, from full", _figure(battery if isinstance(battery, Unavailable) else battery.full, "{:.1f} h")))
    for memory in figures.memory:
        text = _figure(memory, "") if isinstance(memory, UnknownMemory) else f"{memory.verdict}, {memory.mb_per_hour:+.2f} MB an hour"
        cells.append((f"memory of instance {memory.instance}", text))
    return cells


def lines(document: StressDocument) -> list[str]:
    """The verdict on throttling, what went wrong, and why the measurement is not valid."""
    from edgedistill.measure.problems import problems
    from edgedistill.records import Unavailable

    figures = document.stress
    if isinstance(figures, Unavailable):
        lines = [f"unavailable: {figures.unavailable}"]
    else:
        lines = [figures.throttling.text, *(f"WARNING: {line}" for line in problems(figures))]
    lines += [f"{document.validity}: {reason}" for reason in document.reasons]
    return lines + ([f"Report: {document.report}"] if document.report else [])


def _figure(value: float | Estimate | Hours | Unavailable, form: str) -> str:
    """A figure, with its interval where it has one, or why it is unavailable."""
    from edgedistill.records import Unavailable

    if isinstance(value, Unavailable):
        return f"unavailable: {value.unavailable}"
    if isinstance(value, float):
        return form.format(value)
    bare = form.partition(" ")[0]
    low, high = (bare.format(bound) if bound is not None else "?" for bound in value.interval)
    return f"{form.format(value.value)} [{low}, {high}]"
