"""Showing and starting measurements on devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

from edgedistill.cli.output import finish
from edgedistill.cli.parallel import on_each
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from rich.table import Table

    from edgedistill.measure.harness import Protocol
    from edgedistill.records import Unavailable
    from edgedistill.records.generation import CallTimes, Generation
    from edgedistill.records.measurements import Measurement
    from edgedistill.records.stored import DeviceBench, FleetBench


class ProtocolOptions(TypedDict):
    """The options of a measurement, as the command line gives them; see `measure.harness.Protocol`."""

    preset: str
    threads: int
    cores: str | None
    governor: str | None
    cool_to: float | None
    python: str | None
    mirror: str | None
    seconds: NotRequired[float | None]
    meter: NotRequired[str | None]
    ina: NotRequired[list[str]]
    prompt_tokens: NotRequired[str | None]
    new_tokens: NotRequired[int | None]


class BenchOptions(TypedDict):
    """The other options of `bench`; see `steps.flow.bench_on`."""

    save: str | None
    against: str | None
    runner: str | None
    runner_kind: str | None
    runner_arg: list[str]
    app: str | None


def protocol_of(options: ProtocolOptions) -> Protocol:
    """The protocol that `options` ask for. Raises UserError for a preset or cores that there are none of."""
    from edgedistill.measure.harness import Protocol

    return Protocol(
        preset=options["preset"], seconds=options.get("seconds"), threads=options["threads"], cores=core_list(options["cores"]),
        governor=options["governor"], cool_to=options["cool_to"], python=options["python"], mirror=options["mirror"],
        meter=options.get("meter"), ina=options.get("ina", ()), prompts=_lengths(options.get("prompt_tokens")),
        new_tokens=options.get("new_tokens"),
    )  # fmt: skip


def bench(
    run_or_file: Path | None, devices: list[str], fleet: Path | None, options: ProtocolOptions, more: BenchOptions, runs_dir: Path, *,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure on devices under the protocol."""

    def work() -> DeviceBench | FleetBench:
        from edgedistill.errors import UserError
        from edgedistill.measure.fleet import resolve
        from edgedistill.records.stored import DeviceBench, FleetBench
        from edgedistill.steps import flow

        if not devices:
            raise UserError("found --app without --device, expected the phone that has the app, as --device adb:SERIAL or ios:UDID")
        specs = resolve(devices, fleet)
        chosen = run_or_file if run_or_file is not None else flow.newest_run(runs_dir)
        protocol = protocol_of(options)
        if len(specs) > 1:
            status, documents = on_each(["bench", str(chosen), *arguments({**options, **more})], specs, DeviceBench)
            return FleetBench(status=status, devices=documents)
        return flow.bench_on(chosen, specs[0], protocol, **more)

    finish(as_json, work, show, restores=True)


def arguments(options: Mapping[str, object]) -> list[str]:
    """The command line that gives `options`, by the names of their fields; one with several values is given as often."""
    words = []
    for key, value in options.items():
        values = value if isinstance(value, list) else [value] if value is not None else []
        words += [word for text in values for word in (f"--{key.replace('_', '-')}", str(text))]
    return words


def core_list(text: str | None) -> str | list[int] | None:
    """Cores as --cores takes them: big, little, or numbers with commas between them. Raises UserError for anything else."""
    from edgedistill.errors import UserError

    if text is None or text in ("big", "little"):
        return text
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--cores: found '{text}', expected big, little, or numbers as 4,5,6,7") from error


def _lengths(text: str | None) -> list[int] | None:
    """Lengths of prompts as --prompt-tokens takes them: numbers above 0 with commas between them. Raises UserError for anything else."""
    from edgedistill.errors import UserError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--prompt-tokens: found '{text}', expected numbers above 0 as 32,192")
    return [int(part) for part in parts]


def show(document: DeviceBench | FleetBench) -> None:
    """What was measured on one device, or one table with a column a device."""
    from rich.table import Table

    from edgedistill.records.stored import DeviceBench

    if isinstance(document, DeviceBench):
        _show_one(document)
        return
    screen = console()
    table = Table(title="median ms [95%] and validity")
    table.add_column("file")
    rows: dict[str, dict[str, str]] = {}
    for bench in document.devices:
        table.add_column(bench.device, justify="right")
        for measurement in bench.measurements if isinstance(bench, DeviceBench) else []:
            rows.setdefault(measurement.artifact.name, {})[bench.device] = f"{_median(measurement)}\n{measurement.validity}"
    for name, cells in rows.items():
        table.add_row(name, *(cells.get(bench.device, "-") for bench in document.devices))
    screen.print(table)
    for bench in document.devices:
        if not isinstance(bench, DeviceBench):
            screen.print(f"{bench.device}: {bench.error}", soft_wrap=True, highlight=False, markup=False)


def _show_one(document: DeviceBench) -> None:
    """A table with a row a file, the reasons for what is not valid, and each int8 file beside its fp32 twin."""
    from rich.table import Table

    from edgedistill.records import Unavailable

    screen = console()
    first = document.measurements[0]
    model = first.device.model if isinstance(first.device.model, str) else "unknown model"
    table = Table(title=f"{document.device}: {model}, {first.threads} thread(s), {first.protocol.preset}")
    for column in ("file", "p50 ms [95%]", "p95", "p99", "n", "load ms", "peak MB", "outputs", "mJ", "validity"):
        table.add_column(column, justify="left" if column in ("file", "outputs", "validity") else "right")
    for measurement in document.measurements:
        table.add_row(*_cells(measurement))
    screen.print(table)
    if generated := generation_table([(measurement.artifact.name, measurement.generation) for measurement in document.measurements]):
        screen.print(generated)
    screen.print(first.build, highlight=False)
    for measurement in document.measurements:
        lines = list(measurement.reasons)
        if (regression := measurement.regression) is not None:
            lines.append(f"not compared: {regression.unavailable}" if isinstance(regression, Unavailable) else regression.text)
        if (why := _not_generated(measurement)) is not None:
            lines.append(f"generation was not measured: {why}")
        for line in lines:
            screen.print(f"{measurement.artifact.name}: {line}", soft_wrap=True, highlight=False, markup=False)
    for line in twins(document.measurements):
        screen.print(line, highlight=False)


def _cells(measurement: Measurement) -> list[str]:
    from edgedistill.records import Load, Unavailable
    from edgedistill.records.measurements import Energy

    name, latency, loads = measurement.artifact.name, measurement.latency_ms, measurement.load_ms
    if isinstance(latency, Unavailable):
        return [name, *["-"] * 8, measurement.validity]
    count = str(latency.n) if isinstance(latency.n, int) else "-"
    cold = _number(loads.cold, 1) if isinstance(loads, Load) else "-"
    energy = _number(measurement.energy.mj_per_inference, 3) if isinstance(measurement.energy, Energy) else "-"
    tails = [_number(latency.p95, 3), _number(latency.p99, 3), count]
    costs = [cold, _number(measurement.peak_rss_mb, 1), outputs_text(measurement), energy]
    return [name, _median(measurement), *tails, *costs, measurement.validity]


def generation_table(files: Sequence[tuple[str, Generation | Unavailable | None]]) -> Table | None:
    """A row for each length of prompts of each file that keeps a state, by its name; None where no file does."""
    from rich.table import Table

    from edgedistill.records import Unavailable
    from edgedistill.records.generation import Generation

    table = Table(title="generation, ms: medians and p95")
    times = ("first token", "next token", "last token")
    for column in ("file", "prompt", "new", *times, "prefill/s", "decode/s", "peak MB", "state MB", "mJ/token"):
        table.add_column(column, justify="left" if column == "file" else "right", overflow="fold")
    for name, generation in files:
        if not isinstance(generation, Generation):
            continue
        state = generation.state_bytes
        for part in generation.by_prompt:
            rates = [_number(rate, 0) for rate in (part.prefill_tokens_per_s, part.decode_tokens_per_s)]
            energy = "-" if isinstance(part.energy, Unavailable) else _number(part.energy.mj_per_token, 3)
            size = _number(state / 1e6 if isinstance(state, int) else state, 1)
            figures = map(_call_times, (part.first_token, part.next_token, part.last_token))
            counts = (str(part.prompt_tokens), str(generation.new_tokens))
            table.add_row(name, *counts, *figures, *rates, _number(part.peak_rss_mb, 1), size, energy)
    return table if table.row_count else None


def _call_times(times: CallTimes | Unavailable) -> str:
    from edgedistill.records.generation import CallTimes

    return f"{_number(times.latency_ms.p50, 2)}, {_number(times.latency_ms.p95, 2)}" if isinstance(times, CallTimes) else "-"


def _not_generated(measurement: Measurement) -> str | None:
    """Why generation was not measured of a file that may keep a state; None of others, and of a measurement that failed."""
    from edgedistill.measure.generation import NO_STATE
    from edgedistill.records import Unavailable

    generation = measurement.generation
    if not isinstance(generation, Unavailable) or generation == NO_STATE or generation.unavailable in measurement.reasons:
        return None
    return generation.unavailable


def _median(measurement: Measurement) -> str:
    """The median with its interval, or the average of a program that prints no median."""
    from edgedistill.records import Unavailable
    from edgedistill.records.measurements import Intervals

    latency, intervals = measurement.latency_ms, measurement.intervals_ms
    if isinstance(latency, Unavailable):
        return "-"
    if isinstance(latency.p50, Unavailable):
        return f"average {_number(latency.average, 3)}"
    bounds = intervals.p50 if isinstance(intervals, Intervals) else intervals
    return f"{latency.p50:.3f}" + ("" if isinstance(bounds, Unavailable) else f" [{bounds[0]:.3f}, {bounds[1]:.3f}]")


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"


def outputs_text(measurement: Measurement) -> str:
    """How a device's outputs compare with this machine's, in a word or two."""
    from edgedistill.records import Unavailable
    from edgedistill.records.measurements import ComparedOutput, ComparedOutputs, EqualIntegers

    compared = measurement.outputs
    if compared is None or isinstance(compared, Unavailable):
        return "not compared"
    if isinstance(compared, ComparedOutputs):
        return "within the rule" if compared.ok else "DIFFER"
    if compared.equal or (isinstance(compared, ComparedOutput) and compared.exact == 1.0):
        return "equal"
    if isinstance(compared, EqualIntegers):
        return "DIFFER"
    if compared.max_lsb is not None:
        near = f"max {compared.max_lsb:.0f} LSB"
    else:
        near = f"max {compared.max_abs:.1e}" if compared.max_abs is not None else compared.reason or "not comparable"
    return near if compared.ok else f"DIFFER, {near}"


def twins(measurements: Sequence[Measurement]) -> list[str]:
    """A line for each file of another precision than fp32 that has an fp32 twin in its format: how many times as fast it is."""
    medians = [(measurement.artifact, median) for measurement in measurements if (median := _p50(measurement)) is not None]
    students = [(artifact, median) for artifact, median in medians if artifact.name.startswith("student")]
    plain = {artifact.format: (artifact, median) for artifact, median in students if artifact.precision == "fp32"}
    lines = []
    for artifact, median in students:
        if artifact.precision != "fp32" and artifact.format in plain:
            twin, twin_median = plain[artifact.format]
            lines.append(f"{artifact.name}: {twin_median / median:.2f} times as fast as {twin.name} ({twin_median:.3f} ms)")
    return lines


def _p50(measurement: Measurement) -> float | None:
    latency = measurement.latency_ms
    p50 = getattr(latency, "p50", None)
    return p50 if isinstance(p50, float) else None
