"""The command stress: a device under load for minutes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.cli.output import finish
from edgedistill.cli.parallel import interruptible, on_each
from edgedistill.cli.tables import console
from edgedistill.measure.problems import problems

if TYPE_CHECKING:
    from edgedistill.measure.harness import Subject


def stress(
    run_or_file: Path | None, artifact: str | None, devices: list[str], fleet: Path | None, options: dict[str, Any], load: dict[str, Any],
    report: Path | None, runs_dir: Path, *, as_json: bool,
) -> None:  # fmt: skip
    """Load a device; options: the fields of `measure.harness.Protocol`, load: those of `measure.stressing.Stress`.

    artifact: which one of a run, its first int8 file when None. report: where to draw the measurement as HTML, or None.
    """

    def work() -> dict[str, Any]:
        from edgedistill.cli.harness import arguments, core_list
        from edgedistill.measure import stressing
        from edgedistill.measure.fleet import resolve
        from edgedistill.measure.harness import Protocol
        from edgedistill.steps import flow

        asked = stressing.Stress(**load)
        _check(asked)
        chosen = run_or_file if run_or_file is not None else flow.newest_run(runs_dir)
        protocol = Protocol(**options | {"cores": core_list(options["cores"])})
        specs = resolve(devices or ["local"], fleet)
        if len(specs) > 1:
            words = arguments(options | load | {"minutes": load["seconds"] / 60, "seconds": None, "artifact": artifact})
            return on_each(["stress", str(chosen), *words], specs)
        interruptible()
        (device,) = specs
        with subject_of(chosen, artifact) as subject, _progress(device, asked.seconds) as seen:
            document = stressing.stress(subject, device, protocol, asked, seen=seen)
        if report is not None:
            from edgedistill.report.devices import write_device_report

            document["report"] = str(write_device_report([document], report))
        return document

    finish(as_json, work, show)


def _check(asked: Any) -> None:
    """Raise UserError for a load that cannot be: the device would find it out only after everything was sent."""
    from edgedistill.errors import UserError
    from edgedistill.measure.runner.pace import pace

    try:
        pace(vars(asked))
    except ValueError as error:
        raise UserError(str(error)) from error
    if asked.seconds <= 0 or asked.instances < 1:
        raise UserError(f"stress: found {asked.seconds:g} s and {asked.instances} instances, expected more than 0 s and 1 or more")


@contextmanager
def subject_of(run_or_file: Path, artifact: str | None) -> Iterator["Subject"]:
    """The file to load a device with: a model file, or of a run the one named `artifact` or the first int8 file."""
    from contextlib import ExitStack

    from edgedistill.backends import of_suffix
    from edgedistill.errors import UserError
    from edgedistill.measure import harness
    from edgedistill.run import check_run, open_run

    with ExitStack() as stack:
        if not run_or_file.is_dir() or of_suffix(run_or_file):
            yield stack.enter_context(harness.of_file(run_or_file, run=False))[0]
            return
        check_run(run_or_file)
        found = stack.enter_context(harness.of_run(stack.enter_context(open_run(run_or_file))))
        fitting = [one for one in found if one.name == artifact] if artifact else sorted(found, key=lambda one: one.precision != "int8")
        if not fitting:
            raise UserError(f"{run_or_file} has no artifact '{artifact}' that can be loaded; it has {', '.join(one.name for one in found)}")
        yield fitting[0]


@contextmanager
def _progress(device: str, seconds: float) -> Iterator[Any]:
    from edgedistill.progress import track

    with track(f"stress on {device}, seconds", round(seconds)) as bar:
        begun, shown = 0, 0

        def seen(records: list[dict[str, Any]]) -> None:
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


def show(document: dict[str, Any]) -> None:
    """A table with a line for each figure, then what went wrong; of several devices one after the other."""
    if "devices" in document:
        for one in document["devices"]:
            if "error" in one:
                print(f"{one['device']}: {one['error']}")
            else:
                show(one)
        return
    from rich.table import Table
    from rich.text import Text

    screen, found = console(), document["stress"]
    name = f"{document['artifact']['name']} on {document['device']['spec']}"
    if "throughput" in found:
        table = Table(title=f"{name}: {found['mode']}, {len(found['instances'])} instance(s), {found['ran_s']:.0f} s", show_header=False)
        for row in rows(found):
            table.add_row(*map(Text, row))
        screen.print(table)
    for line in lines(document):
        screen.print(line, markup=False, highlight=False, soft_wrap=True)


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What each figure is and how it reads; one that is unavailable reads so, with the reason."""
    rate, latency = found["throughput"], found["latency_ms"]
    cells = []
    for part, words in (("initial", "initial throughput"), ("sustained", "sustained throughput")):
        cells.append((words, _figure(rate.get(part, rate), "{:.1f} inferences/s")))
    cells.append(("sustained of initial", _figure(rate.get("ratio", rate), "{:.3f}")))
    cells.append(("latency, ms", ", ".join(f"{q} {_figure(latency[q], '{:.3f}')}" for q in ("p50", "p95", "p99"))))
    if found["rate"]:
        paced = found["rate"]
        late = f"late p50 {paced['late_ms']['p50']:.2f} ms, p99 {paced['late_ms']['p99']:.2f} ms"
        cells.append(("rate", f"{paced['achieved_hz']:.2f} of {paced['asked_hz']:g} Hz; {late}"))
    heat = found["temperature"]
    if "unavailable" in heat:
        cells.append(("temperature", _figure(heat, "")))
    else:
        for name, one in heat.items():
            cells.append((name, f"{one['start_c']:.1f} to {one['end_c']:.1f} °C, peak {one['peak_c']:.1f} after {one['peak_at_s']:.0f} s"))
    room = found["headroom"]
    cells.append(("thermal headroom left", f"{room['min_left']:.2f} at the least" if "min_left" in room else _figure(room, "")))
    battery = found["battery_hours"]
    cells.append(("battery, from full", _figure(battery.get("full", battery), "{:.1f} h")))
    for one in found["memory"]:
        text = f"{one['verdict']}, {one['mb_per_hour']:+.2f} MB an hour" if "verdict" in one else _figure(one, "")
        cells.append((f"memory of instance {one['instance']}", text))
    return cells


def lines(document: dict[str, Any]) -> list[str]:
    """The verdict on throttling, what went wrong, and why the measurement is not valid."""
    found = document["stress"]
    lines = [found["throttling"]["text"] if "throttling" in found else f"unavailable: {found['unavailable']}"]
    lines += [f"WARNING: {line}" for line in problems(found)]
    lines += [f"{document['validity']}: {reason}" for reason in document["reasons"]]
    return lines + ([f"Report: {document['report']}"] if "report" in document else [])


def _figure(value: Any, form: str) -> str:
    if isinstance(value, int | float):
        return form.format(value)
    if value.get("value") is None:
        return f"unavailable: {value.get('unavailable')}"
    bare = form.partition(" ")[0]
    low, high = (bare.format(bound) if bound is not None else "?" for bound in value["interval"])
    return f"{form.format(value['value'])} [{low}, {high}]"
