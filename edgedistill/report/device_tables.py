"""The tables of measurements on devices."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgedistill.report.tables import Table
from edgedistill.report.values import Cell, figures, get, integer, interval, number, reason, show, unavailable, words

Document = Mapping[str, Any]
_WHEN = 16


def devices(documents: Sequence[Document]) -> Table:
    """Each device once: what it is, and what was measured with."""
    found = {str(get(one, "device", "spec")): one for one in documents}
    rows = [
        [
            Cell(spec, "code"),
            *(words(get(one, "device", key)) for key in ("model", "soc", "os", "abi", "kernel")),
            _cores(get(one, "device", "cores")),
            show(get(one, "device", "memory_bytes"), lambda size: f"{size / 2**30:.1f}"),
            words(get(one, "build")),
        ]
        for spec, one in found.items()
    ]
    return Table("Devices", ("device", "model", "chip", "system", "ABI", "kernel", "cores", "memory, GiB", "what ran"), rows)


def benches(documents: Sequence[Document]) -> Table:
    """Each bench: latency with its intervals, load, memory, energy, whether the outputs are this machine's, and the validity."""
    headers = (
        "device", "file", "validity", "threads", "p50, ms", "p95, ms", "p99, ms", "samples", "load, ms", "peak memory, MiB",
        "energy, mJ", "outputs", "measured (UTC)",
    )  # fmt: skip
    return Table("Latency on devices, batch 1", headers, [_bench_row(one) for one in documents if one.get("kind") == "bench"])


def _bench_row(one: Document) -> list[Cell]:
    energy = get(one, "energy", "mj_per_inference")
    return [
        Cell(str(get(one, "device", "spec")), "code"),
        _file(one),
        validity(one),
        show(one.get("threads"), integer),
        *(_bounded(get(one, "latency_ms", q), get(one, "intervals_ms", q)) for q in ("p50", "p95", "p99")),
        show(get(one, "latency_ms", "n"), integer),
        show(get(one, "load_ms", "cold"), figures),
        show(one.get("peak_rss_mb"), figures),
        _bounded(energy, get(one, "energy", "interval")),
        _outputs(one.get("outputs")),
        Cell(str(one.get("created"))[:_WHEN].replace("T", "\n"), "number"),
    ]


def loads(documents: Sequence[Document]) -> Table:
    """Each stress test in a line: what was kept up, when it throttled, heat, battery and memory."""
    headers = (
        "device", "file", "validity", "load", "initial, 1/s", "sustained, 1/s", "sustained of initial", "throttled after, s", "peak, °C",
        "headroom left", "battery from full, h", "memory, MB an hour",
    )  # fmt: skip
    return Table("Stress tests", headers, [_load_row(one) for one in documents if one.get("kind") == "stress"])


def _load_row(one: Document) -> list[Cell]:
    found = one.get("stress")
    load = ""
    if isinstance(found, Mapping) and "mode" in found:
        count = f", {len(found['instances'])} instances" if len(found["instances"]) > 1 else ""
        load = f"{found['mode']}{count}\n{found['ran_s']:.0f} s"
    return [
        Cell(str(get(one, "device", "spec")), "code"),
        _file(one),
        validity(one),
        Cell(load) if load else unavailable(found),
        *(_measured(get(found, "throughput", part)) for part in ("initial", "sustained", "ratio")),
        _throttled(get(found, "throttling")),
        _peak(get(found, "temperature")),
        show(get(found, "headroom", "min_left"), figures),
        _measured(get(found, "battery_hours", "full")),
        _memory(get(found, "memory")),
    ]


def minutes(found: Mapping[str, Any]) -> Table:
    """Latency in each minute of a load."""
    rows = [
        [Cell(str(row["minute"]), "number"), *(show(row[q], figures) for q in ("p50", "p95", "p99")), show(row["n"], integer)]
        for row in found.get("by_minute") or []
    ]
    return Table("Latency by minute", ("minute", "p50, ms", "p95, ms", "p99, ms", "inferences"), rows)


def compared(documents: Sequence[Document]) -> Table:
    """Each comparison in turns: B against A."""
    rows = [
        [
            Cell(str(get(one, "device", "spec")), "code"),
            *(Cell(str(get(one, side, "artifact", "name")), "code") for side in ("a", "b")),
            *(_bounded(get(one, side, "latency_ms", "p50"), get(one, side, "intervals_ms", "p50")) for side in ("a", "b")),
            _measured(get(one, "ratio")),
            words(one.get("verdict")),
            validity(one),
        ]
        for one in documents
        if one.get("kind") == "compare"
    ]
    headers = ("device", "A", "B", "A's p50, ms", "B's p50, ms", "B takes times A", "B is", "validity")
    return Table("Interleaved comparison", headers, rows)


def _cores(found: Any) -> Cell:
    """How many cores of each highest frequency, the fastest first: 4 at 2,400 MHz, 4 at 1,800 MHz."""
    if not isinstance(found, list) or not found:
        return unavailable(found)
    counts: dict[float, int] = {}
    for core in found:
        top = number(core.get("max_mhz")) or 0.0
        counts[top] = counts.get(top, 0) + 1
    return Cell(", ".join(f"{n} at {integer(top)} MHz" if top else str(n) for top, n in sorted(counts.items(), reverse=True)))


def validity(one: Document) -> Cell:
    """valid, noisy, throttled or invalid; `reasons` has why."""
    found = str(one.get("validity"))
    return Cell(found, "ok" if found == "valid" else "failed" if found == "invalid" else "text")


def reasons(documents: Sequence[Document]) -> list[str]:
    """Why measurements are not valid: each reason of a device once, with the files that it is about."""
    about: dict[tuple[str, str], list[str]] = {}
    files: dict[str, set[str]] = {}
    for one in documents:
        spec, name = str(get(one, "device", "spec")), _file(one).text
        files.setdefault(spec, set()).add(name)
        for told in one.get("reasons") or []:
            about.setdefault((spec, str(told)), []).append(name)
    return [
        f"{spec}, {'all files' if len(names) > 1 and set(names) == files[spec] else ', '.join(dict.fromkeys(names))}: {told}"
        for (spec, told), names in about.items()
    ]


def _file(one: Document) -> Cell:
    return Cell(str(get(one, "artifact", "name")), "code")


def _bounded(value: Any, bounds: Any) -> Cell:
    cell, ends = show(value, figures), interval(bounds, figures)
    return Cell(f"{cell.text}\n{ends}", "number") if ends and cell.kind == "number" else cell


def _measured(value: Any) -> Cell:
    return _bounded(value, value.get("interval") if isinstance(value, Mapping) else None)


def _throttled(found: Any) -> Cell:
    """When it throttled and why; a dash where it was seen not to."""
    if not isinstance(found, Mapping) or "text" not in found:
        return unavailable(found)
    if found["time_s"] is None:
        return Cell("did not throttle")
    time = number(found["time_s"])
    if time is None:
        return unavailable(found["time_s"])
    causes = ", ".join(dict.fromkeys(one["cause"] for one in found["causes"])) or "unexplained"
    return Cell(f"{time:.0f} (an inference takes {100 * found['rise']:.0f}% longer)\n{causes}", "number")


def _peak(found: Any) -> Cell:
    if not isinstance(found, Mapping) or "unavailable" in found:
        return unavailable(found)
    name = max(found, key=lambda key: found[key]["peak_c"])
    return Cell(f"{found[name]['peak_c']:.1f}\n{name.removeprefix('temperature.')}", "number")


def _memory(found: Any) -> Cell:
    """Of the instance whose memory grew most: how fast, and whether that is a leak."""
    if not isinstance(found, Sequence) or not found:
        return unavailable(found)
    known = [one for one in found if "verdict" in one]
    if not known:
        return unavailable(found[0])
    worst = max(known, key=lambda one: (one["verdict"] == "leak", one["mb_per_hour"]))
    return Cell(f"{worst['verdict']}\n{figures(worst['mb_per_hour'])} {interval(worst['interval'], figures)}".rstrip(), "number")


def _outputs(found: Any) -> Cell:
    if not isinstance(found, Mapping) or "unavailable" in found:
        return unavailable(found)
    if found.get("exact") == 1.0 or found.get("equal"):
        return Cell("✓ equal", "ok")
    if found.get("ok") is False:
        return Cell("✗ differ", "failed")
    near = f"{figures(found['max_lsb'])} LSB" if number(found.get("max_lsb")) is not None else reason(found)
    return Cell(f"✓ within {near}" if "max_lsb" in found else "✓ within the rule", "ok")
