"""The tables of measurements on devices."""

from collections.abc import Callable, Sequence

from edgedistill.records import Unavailable
from edgedistill.records.comparisons import InterleavedComparison
from edgedistill.records.devices import Core
from edgedistill.records.generation import CallTimes, Generation, Intervals, PromptGeneration
from edgedistill.records.measurements import ComparedOutput, EqualIntegers, Measured, Measurement, Outputs
from edgedistill.records.results import Interval
from edgedistill.records.stress import Estimate, Hours, InstanceMemory, StressFigures, StressTest, Temperature, Throttling, UnknownMemory
from edgedistill.report.tables import Table
from edgedistill.report.values import Cell, figures, integer, interval, show, unavailable, words

_WHEN = 16


def devices(measurements: Sequence[Measured]) -> Table:
    """Each device once: what it is, and what was measured with."""
    last = {measurement.device.spec: (measurement.device, measurement.build) for measurement in measurements}
    rows = [
        [
            Cell(spec, "code"),
            *map(_words, (device.model, device.soc, device.os, device.abi, device.kernel)),
            _cores(device.cores),
            _number(device.memory_bytes, lambda size: f"{size / 2**30:.1f}"),
            words(build),
        ]
        for spec, (device, build) in last.items()
    ]
    return Table("Devices", ("device", "model", "chip", "system", "ABI", "kernel", "cores", "memory, GiB", "what ran"), rows)


def benches(measurements: Sequence[Measurement]) -> Table:
    """Each bench: latency with its intervals, load, memory, energy, whether the outputs are this machine's, and the validity."""
    headers = (
        "device", "file", "validity", "threads", "p50, ms", "p95, ms", "p99, ms", "samples", "load, ms", "peak memory, MiB",
        "energy, mJ", "outputs", "measured (UTC)",
    )  # fmt: skip
    return Table("Latency on devices, batch 1", headers, [_bench_row(measurement) for measurement in measurements])


def _bench_row(measurement: Measurement) -> list[Cell]:
    loads, energy = measurement.load_ms, measurement.energy
    return [
        Cell(measurement.device.spec, "code"),
        _file(measurement),
        validity(measurement),
        _number(measurement.threads, integer),
        *_latency(measurement),
        _number(loads if isinstance(loads, Unavailable) else loads.cold),
        _number(measurement.peak_rss_mb),
        _number(energy) if energy is None or isinstance(energy, Unavailable) else _bounded(energy.mj_per_inference, energy.interval),
        _outputs(measurement.outputs),
        Cell(measurement.created[:_WHEN].replace("T", "\n"), "number"),
    ]


def _latency(measurement: Measurement) -> list[Cell]:
    """The percentiles with their intervals, and the number of samples."""
    latency, intervals = measurement.latency_ms, measurement.intervals_ms
    if isinstance(latency, Unavailable):
        return [_number(latency)] * 4
    percentiles = (latency.p50, latency.p95, latency.p99)
    bounds = (intervals.p50, intervals.p95, intervals.p99) if isinstance(intervals, Intervals) else (intervals,) * 3
    return [*(_bounded(value, ends) for value, ends in zip(percentiles, bounds, strict=True)), _number(latency.n, integer)]


def generation(measurements: Sequence[Measurement]) -> Table:
    """Each length of prompts of each file that keeps a state: the time of tokens with its intervals, rates, memory and energy."""
    headers = (
        "device", "file", "validity", "prompt, tokens", "new tokens", "first token, ms", "p95, ms", "next token, ms", "its p95, ms",
        "last token, ms", "prefill, tokens/s", "decode, tokens/s", "peak memory, MiB", "state, MB", "energy of a token, mJ",
    )  # fmt: skip
    rows = [
        _generation_row(measurement, measurement.generation, part)
        for measurement in measurements
        if isinstance(measurement.generation, Generation)
        for part in measurement.generation.by_prompt
    ]
    return Table("Generation on devices: a call with the prompt, then one for each further token", headers, rows)


def _generation_row(measurement: Measurement, whole: Generation, part: PromptGeneration) -> list[Cell]:
    energy, state = part.energy, whole.state_bytes
    return [
        Cell(measurement.device.spec, "code"),
        _file(measurement),
        validity(measurement),
        _number(part.prompt_tokens, integer),
        _number(whole.new_tokens, integer),
        *_times(part.first_token),
        *_times(part.next_token),
        _times(part.last_token)[0],
        _number(part.prefill_tokens_per_s),
        _number(part.decode_tokens_per_s),
        _number(part.peak_rss_mb),
        _number(state if isinstance(state, Unavailable) else state / 1e6),
        _number(energy) if isinstance(energy, Unavailable) else _bounded(energy.mj_per_token, energy.interval),
    ]


def _times(times: CallTimes | Unavailable) -> list[Cell]:
    """The median with its interval, and the 95th percentile with its own."""
    if isinstance(times, Unavailable):
        return [_number(times)] * 2
    latency, bounds = times.latency_ms, times.intervals_ms
    return [_bounded(latency.p50, bounds.p50), _bounded(latency.p95, bounds.p95)]


def loads(tests: Sequence[StressTest]) -> Table:
    """Each stress test in a line: what was kept up, when it throttled, heat, battery and memory."""
    headers = (
        "device", "file", "validity", "load", "initial, 1/s", "sustained, 1/s", "sustained of initial", "throttled after, s", "peak, °C",
        "headroom left", "battery from full, h", "memory, MB an hour",
    )  # fmt: skip
    return Table("Stress tests", headers, [_load_row(test) for test in tests])


def _load_row(test: StressTest) -> list[Cell]:
    about = [Cell(test.device.spec, "code"), _file(test), validity(test)]
    figured = test.stress
    if isinstance(figured, Unavailable):
        return [*about, *[_number(figured)] * 9]
    count = f", {len(figured.instances)} instances" if len(figured.instances) > 1 else ""
    rate, room, battery = figured.throughput, figured.headroom, figured.battery_hours
    return [
        *about,
        Cell(f"{figured.mode}{count}\n{figured.ran_s:.0f} s"),
        *map(_estimate, (rate,) * 3 if isinstance(rate, Unavailable) else (rate.initial, rate.sustained, rate.ratio)),
        _throttled(figured.throttling),
        _peak(figured.temperature),
        _number(room if isinstance(room, Unavailable) else room.min_left),
        _estimate(battery if isinstance(battery, Unavailable) else battery.full),
        _memory(figured.memory),
    ]


def minutes(figured: StressFigures | Unavailable) -> Table:
    """Latency in each minute of a load."""
    rows = [
        [Cell(str(row.minute), "number"), _number(row.p50), _number(row.p95), _number(row.p99), _number(row.n, integer)]
        for row in (figured.by_minute if isinstance(figured, StressFigures) else [])
    ]
    return Table("Latency by minute", ("minute", "p50, ms", "p95, ms", "p99, ms", "inferences"), rows)


def compared(comparisons: Sequence[InterleavedComparison]) -> Table:
    """Each comparison in turns: B against A."""
    rows = [
        [
            Cell(comparison.device.spec, "code"),
            *(Cell(side.artifact.name, "code") for side in (comparison.a, comparison.b)),
            *(_bounded(side.latency_ms.p50, side.intervals_ms.p50) for side in (comparison.a, comparison.b)),
            _bounded(comparison.ratio.value, comparison.ratio.interval),
            _words(comparison.verdict),
            validity(comparison),
        ]
        for comparison in comparisons
    ]
    headers = ("device", "A", "B", "A's p50, ms", "B's p50, ms", "B takes times A", "B is", "validity")
    return Table("Interleaved comparison", headers, rows)


def _cores(cores: Sequence[Core]) -> Cell:
    """How many cores of each highest frequency, the fastest first: 4 at 2,400 MHz, 4 at 1,800 MHz."""
    if not cores:
        return unavailable(None)
    counts: dict[float, int] = {}
    for core in cores:
        highest = core.max_mhz if isinstance(core.max_mhz, float) else 0.0
        counts[highest] = counts.get(highest, 0) + 1
    texts = (f"{n} at {integer(highest)} MHz" if highest else str(n) for highest, n in sorted(counts.items(), reverse=True))
    return Cell(", ".join(texts))


def validity(measurement: Measured) -> Cell:
    """valid, noisy, throttled or invalid; `reasons` has why."""
    kind = measurement.validity
    return Cell(kind, "ok" if kind == "valid" else "failed" if kind == "invalid" else "text")


def reasons(measurements: Sequence[Measured]) -> list[str]:
    """Why measurements are not valid: each reason of a device once, with the files that it is about."""
    about: dict[tuple[str, str], list[str]] = {}
    files: dict[str, set[str]] = {}
    for measurement in measurements:
        spec, name = measurement.device.spec, measurement.artifact.name
        files.setdefault(spec, set()).add(name)
        for reason in measurement.reasons:
            about.setdefault((spec, reason), []).append(name)
    return [
        f"{spec}, {'all files' if len(names) > 1 and set(names) == files[spec] else ', '.join(dict.fromkeys(names))}: {reason}"
        for (spec, reason), names in about.items()
    ]


def _file(measurement: Measured) -> Cell:
    return Cell(measurement.artifact.name, "code")


def _number(value: float | Unavailable | None, form: Callable[[float], str] = figures) -> Cell:
    return show(value.model_dump() if isinstance(value, Unavailable) else value, form)


def _words(value: str | Unavailable) -> Cell:
    return words(value.model_dump() if isinstance(value, Unavailable) else value)


def _bounded(value: float | Unavailable, bounds: Interval | tuple[float, float | None] | Unavailable) -> Cell:
    cell, ends = _number(value), interval(bounds, figures)
    return Cell(f"{cell.text}\n{ends}", "number") if ends and cell.kind == "number" else cell


def _estimate(estimate: Estimate | Hours | Unavailable) -> Cell:
    return _number(estimate) if isinstance(estimate, Unavailable) else _bounded(estimate.value, estimate.interval)


def _throttled(throttling: Throttling) -> Cell:
    """When it throttled and why; a dash where it was seen not to."""
    if throttling.time_s is None:
        return Cell("did not throttle")
    if isinstance(throttling.time_s, Unavailable):
        return _number(throttling.time_s)
    causes = ", ".join(dict.fromkeys(cause.cause for cause in throttling.causes or [])) or "unexplained"
    longer = f"an inference takes {100 * (throttling.rise or 0):.0f}% longer"
    return Cell(f"{throttling.time_s:.0f} ({longer})\n{causes}", "number")


def _peak(sensors: dict[str, Temperature] | Unavailable) -> Cell:
    if isinstance(sensors, Unavailable):
        return _number(sensors)
    name, hottest = max(sensors.items(), key=lambda item: item[1].peak_c)
    return Cell(f"{hottest.peak_c:.1f}\n{name.removeprefix('temperature.')}", "number")


def _memory(instances: Sequence[InstanceMemory | UnknownMemory]) -> Cell:
    """Of the instance whose memory grew most: how fast, and whether that is a leak."""
    known = [memory for memory in instances if isinstance(memory, InstanceMemory)]
    if not known:
        return _number(next((memory for memory in instances if isinstance(memory, UnknownMemory)), None))
    worst = max(known, key=lambda memory: (memory.verdict == "leak", memory.mb_per_hour))
    return Cell(f"{worst.verdict}\n{figures(worst.mb_per_hour)} {interval(worst.interval, figures)}".rstrip(), "number")


def _outputs(outputs: Outputs | None) -> Cell:
    if outputs is None or isinstance(outputs, Unavailable):
        return _number(outputs)
    if not outputs.ok:
        return Cell("✗ differ", "failed")
    if isinstance(outputs, EqualIntegers) or (isinstance(outputs, ComparedOutput) and (outputs.equal or outputs.exact == 1.0)):
        return Cell("✓ equal", "ok")
    lsb = outputs.max_lsb if isinstance(outputs, ComparedOutput) else None
    return Cell("✓ within the rule" if lsb is None else f"✓ within {figures(lsb)} LSB", "ok")
