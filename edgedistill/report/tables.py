"""Build the report's tables: each takes a part of the summary and returns headers and rows of cells."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgedistill.recipe.precisions import is_float
from edgedistill.report.values import (
    Cell,
    executed_by,
    figures,
    get,
    integer,
    interval,
    lost,
    megabytes,
    number,
    percent,
    points,
    reason,
    score,
    show,
    unavailable,
    verdict,
    words,
)

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table with a caption. The first cell of a row is its header."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def missing(self) -> dict[str, str]:
        """The columns in which each of several rows is unavailable for one reason, or has nothing to say: the reason by the header."""
        reasons = {}
        for header, *cells in zip(self.headers, *self.rows, strict=True) if len(self.rows) > 1 else ():
            said = {(cell.kind, cell.full) for cell in cells if cell.text != "–"}
            if len(said) == 1 and (kind_and_reason := said.pop())[0] == "unavailable":
                reasons[header] = kind_and_reason[1]
        return reasons

    @property
    def compact(self) -> "Table":
        """The same without the columns that are missing, and with one cell for neighbours that are unavailable for one reason."""
        kept = [place for place, header in enumerate(self.headers) if header not in self.missing]
        rows = [_merged([row[place] for place in kept]) for row in self.rows]
        return Table(self.caption, [self.headers[place] for place in kept], rows)


def overview(summary: Summary) -> Table:
    """Every artifact in one line."""
    headers = ("artifact", "role", "format", "precision", f"{title(summary)} on val", "on holdout", "size, MB", "latency p50, ms", "parity")
    return Table("All artifacts", headers, [_overview_row(artifact) for artifact in by_format(summary)])


def _overview_row(artifact: Summary) -> list[Cell]:
    return [
        Cell(str(artifact.get("name")), "code"),
        *(words(artifact.get(key)) for key in ("role", "format", "precision")),
        show(get(artifact, "score", "val"), percent),
        show(get(artifact, "score", "holdout"), percent),
        show(get(artifact, "bytes"), megabytes),
        show(get(artifact, "latency_ms", "p50"), figures),
        verdict(artifact.get("ok"), _not_judged(artifact)),
    ]


def ladder(summary: Summary) -> Table:
    """Each rung with its drop and what executed it."""
    name, rungs = title(summary), summary.get("ladder") or []
    further = dict.fromkeys(key for rung in rungs for key in rung.get("further") or {})
    headers = ("rung", "model", "precision", "executed by", f"{name} on val", "drop, points", f"{name} on holdout", *further)
    rows = [
        [
            Cell(str(rung.get("rung")), "code"),
            words(rung.get("model")),
            words(rung.get("precision")),
            Cell(executed_by(rung.get("executed_by"))),
            score(get(rung, "score", "val")),
            _drop(rung),
            score(get(rung, "score", "holdout")),
            *(show((rung.get("further") or {}).get(key), figures) for key in further),
        ]
        for rung in rungs
    ]
    return Table("The ladder: the same split scored at each rung", headers, rows)


def ladder_of_sets(summary: Summary) -> Table:
    """Each rung on each set of the data; without rows where the data have one."""
    rungs = [rung for rung in summary.get("ladder") or [] if rung.get("sets")]
    names = dict.fromkeys(name for rung in rungs for name in rung["sets"])
    columns = [(name, split) for split in ("val", "holdout") for name in names]
    # A column without a figure says nothing: a holdout of its own has no sample in val.
    columns = [each for each in columns if any(number(get(rung, "sets", *each)) is not None for rung in rungs)]
    rows = [[Cell(str(rung.get("rung")), "code"), *(score(get(rung, "sets", name, split)) for name, split in columns)] for rung in rungs]
    headers = ("data.holdout" if name == split else f"{name}, {split}" for name, split in columns)
    return Table(f"The ladder on each set of the data: {title(summary)}", ("rung", *headers), rows)


def _drop(rung: Summary) -> Cell:
    """The drop and the rung that it is from; the teacher and the control have none before them."""
    if rung.get("drop") is None and not rung.get("drop_from"):
        return Cell("–")
    cell = show(get(rung, "score", "val") if rung.get("drop") is None else rung["drop"], lost)
    return replace(cell, text=f"{cell.text}\nfrom {rung['drop_from']}") if rung.get("drop_from") and cell.kind == "number" else cell


def teachers(summary: Summary) -> Table:
    """Each of several teachers, with its weight in the mean where there is one."""
    members = get(summary, "teacher", "members", "list") or []
    rows = [
        [
            Cell(str(member.get("name"))),
            words(member.get("model")),
            show(member.get("val"), percent),
            show(member.get("weight"), percent) if member.get("weight") is not None else Cell("–"),
        ]
        for member in (members if isinstance(members, list) else [])
    ]
    return Table("Teachers", ("name", "model", f"{title(summary)} on val", "weight"), rows)


def disagreement(summary: Summary) -> Table:
    """How far each pair of teachers disagrees on val."""
    entries = get(summary, "teacher", "members", "disagreement") or []
    pairs = entries if isinstance(entries, list) else []
    further = dict.fromkeys(key for pair in pairs for key in pair.get("further") or {})
    rows = [
        [
            Cell(f"{pair.get('a')} and {pair.get('b')}"),
            show(pair.get("share"), percent),
            *(show((pair.get("further") or {}).get(key, pair.get("share")), figures) for key in further),
        ]
        for pair in pairs
    ]
    headers = ("teachers", "decide differently", *further)
    return Table("How far the teachers disagree on val", headers, rows)


def parity(summary: Summary) -> Table:
    """Each artifact against its reference, with the rule it had to keep."""
    headers = ("artifact", "against", "largest difference", "mean difference", "within 2 LSB", "flips", "rule", "result")
    return Table("Parity of each artifact with its reference", headers, [_parity_row(artifact) for artifact in by_format(summary)])


def _parity_row(artifact: Summary) -> list[Cell]:
    comparison = artifact.get("parity")
    name = Cell(str(artifact.get("name")), "code")
    if not isinstance(comparison, Mapping) or "reference" not in comparison:
        return [name, *[unavailable(comparison)] * 6, verdict(artifact.get("ok"), comparison)]
    if "reason" in comparison:
        return [
            name,
            words(comparison["reference"]),
            *[unavailable(comparison)] * 4,
            words(comparison.get("rule")),
            verdict(artifact.get("ok"), comparison),
        ]
    in_lsb = "max_lsb" in comparison
    if in_lsb:
        largest = show(comparison.get("max_lsb"), lambda value: f"{value:g} LSB")
    else:
        relative = number(comparison.get("relative"))
        largest = show(
            comparison.get("max_abs"),
            lambda value: figures(value) + (f"\n{figures(relative)} of the largest output" if relative is not None else ""),
        )
    return [
        name,
        words(comparison.get("reference")),
        largest,
        show(comparison.get("mean_lsb"), lambda value: f"{figures(value)} LSB") if in_lsb else Cell("–"),
        show(comparison.get("within_2_lsb"), percent) if in_lsb else Cell("–"),
        flips(comparison),
        words(comparison.get("rule")),
        verdict(artifact.get("ok"), _not_judged(artifact)),
    ]


def pairs(summary: Summary) -> Table:
    """The int8 artifacts among each other."""
    headers = ("artifact", "and", "largest difference, LSB", "mean, LSB", "exactly equal", "flips", "result")
    rows = [
        [
            Cell(str(pair.get("a")), "code"),
            Cell(str(pair.get("b")), "code"),
            show(get(pair, "max_lsb"), "{:g}".format),
            show(get(pair, "mean_lsb"), figures),
            show(get(pair, "exact"), percent),
            flips(pair),
            verdict(pair.get("ok"), pair),
        ]
        for pair in summary.get("pairs") or []
    ]
    return Table("int8 artifacts among each other", headers, rows)


def measurements(summary: Summary) -> Table:
    """Latency, load time and memory; the quantized artifacts of a format are followed by their floating-point twin."""
    headers = (
        "artifact", "p50, ms", "p95, ms", "samples", "threads", "first load, ms", "warm load, ms",
        "first inference, ms", "peak memory, MiB", "faster than twin", "size, MB", "smaller than twin", "runtime",
    )  # fmt: skip
    return Table("Measured on this machine's CPU, batch 1", headers, [_measured_row(artifact) for artifact in by_format(summary)])


def _measured_row(artifact: Summary) -> list[Cell]:
    runtime = artifact.get("runtime")
    versions = (
        ", ".join(f"{name} {version}" for name, version in runtime.items())
        if isinstance(runtime, Mapping) and "unavailable" not in runtime
        else ""
    )
    return [
        Cell(str(artifact.get("name")), "code"),
        _with_interval(show(get(artifact, "latency_ms", "p50"), figures), artifact.get("latency_interval_ms")),
        show(get(artifact, "latency_ms", "p95"), figures),
        show(get(artifact, "latency_ms", "n"), lambda n: integer(n) + ("\n(not steady)" if artifact.get("steady") is False else "")),
        # Where nothing was timed no number of threads is recorded either, for the same reason.
        show(artifact.get("threads") or artifact.get("latency_ms"), integer),
        show(get(artifact, "load_ms", "cold"), figures),
        show(get(artifact, "load_ms", "warm"), figures),
        show(artifact.get("first_inference_ms"), figures),
        show(artifact.get("peak_rss_mb"), figures),
        _against_twin(artifact, "speedup", lambda speedup: speedup),
        show(artifact.get("bytes"), megabytes),
        _against_twin(artifact, "bytes_ratio", lambda share: 1 / share),
        Cell(versions) if versions else unavailable(runtime),
    ]


def _with_interval(cell: Cell, bounds: Any) -> Cell:
    text = interval(bounds, figures)
    return replace(cell, text=f"{cell.text}\n{text}") if text and cell.kind == "number" else cell


def _against_twin(artifact: Summary, key: str, ratio: Callable[[float], float]) -> Cell:
    """How many times smaller a quantity is than the twin's, from `key` of the artifact's `quantization`; below 1 it is larger."""
    if is_float(artifact.get("precision")):
        return Cell("–")
    return show(get(artifact, "quantization", key), lambda value: f"{figures(ratio(value))}×")


def outputs(summary: Summary) -> Table:
    """Each output of each artifact against that of the model in floating point."""
    headers = ("artifact", "output", "largest difference", "mean difference", "worst sample", "signal to noise, dB")
    rows = [
        [
            Cell(str(artifact.get("name")), "code"),
            Cell(name, "code"),
            *(_share(error, key) for key in ("largest", "mean")),
            Cell("none") if error.get("worst") is None else show(error.get("worst"), integer),
            Cell("no noise") if error.get("snr_db") is None else show(error.get("snr_db"), "{:.1f}".format),
        ]
        for artifact in by_format(summary)
        for name, error in (artifact.get("outputs") or {}).items()
        if isinstance(error, Mapping)
    ]
    return Table("Outputs against the model in floating point, on val; differences are shares of the output's range", headers, rows)


def _share(error: Summary, key: str) -> Cell:
    return Cell("not finite, or of a constant") if error.get(key) is None else show(error.get(key), percent)


def title(summary: Summary) -> str:
    """What the primary metric is called."""
    return str((summary.get("metric") or {}).get("title", "score"))


def metric(summary: Summary) -> str:
    """The key of the primary metric in records."""
    return str((summary.get("metric") or {}).get("name", "score"))


def epochs(summary: Summary) -> Table:
    """The numbers behind the training curves."""
    rows = [
        [
            Cell(model),
            words(epoch.get("stage")),
            show(epoch.get("epoch"), integer),
            show(epoch.get("loss"), figures),
            show(epoch.get(f"val_{metric(summary)}"), percent),
            show(epoch.get("lr"), figures),
            show(epoch.get("seconds"), figures),
        ]
        for model, entries in (summary.get("curves") or {}).items()
        for epoch in entries or []
    ]
    return Table("Every epoch", ("model", "stage", "epoch", "loss", f"{title(summary)} on val", "learning rate", "seconds"), rows)


def facts(caption: str, headers: tuple[str, str], pairs_: Iterable[tuple[str, Cell]]) -> Table:
    """A table of names and values."""
    return Table(caption, headers, [[Cell(name), cell] for name, cell in pairs_])


def difference(outcome: Summary) -> str:
    """The verdict's numbers: student less control with its interval, split and number of samples."""
    value = number(outcome.get("difference"))
    if value is None:
        return f"unavailable: {reason(outcome.get('difference') or outcome)}"
    bounds = interval(outcome.get("interval"), points)
    return f"{points(value)} points" + (f", {bounds}" if bounds else "")


def by_format(summary: Summary) -> list[Summary]:
    """Artifacts with the teacher first, then by format in the order they came, the quantized ones by bytes before their twin."""
    artifacts = list(summary.get("artifacts") or [])
    order = {key: index for index, key in enumerate(dict.fromkeys(_key(artifact) for artifact in artifacts))}

    def place(a: Summary) -> tuple[bool, int, bool, float]:
        return a.get("role") != "teacher", order[_key(a)], is_float(a.get("precision")), number(a.get("bytes")) or 0

    return sorted(artifacts, key=place)


def _key(artifact: Summary) -> tuple[Any, Any, Any]:
    return artifact.get("role"), artifact.get("format"), artifact.get("delegate")


def flips(comparison: Summary) -> Cell:
    """How many of all samples flip between two sets of outputs."""
    n = number(comparison.get("n"))
    if n is not None and comparison.get("flips") is None:
        return unavailable({"unavailable": "the task decides nothing"})
    return show(get(comparison, "flips"), lambda value: integer(value) + (f" of {integer(n)}" if n is not None else ""))


def _not_judged(artifact: Summary) -> Any:
    """Where an artifact has no result, the value that says why."""
    candidates = (artifact.get("executed_by"), artifact.get("parity"), get(artifact, "score", "val"))
    return next((value for value in candidates if isinstance(value, Mapping) and value.get("unavailable")), None)


def _merged(row: Sequence[Cell]) -> list[Cell]:
    """Neighbouring cells that are unavailable for one reason become one cell."""
    merged: list[Cell] = []
    for cell in row:
        if merged and cell.kind == "unavailable" and merged[-1].kind == "unavailable" and merged[-1].full == cell.full:
            merged[-1] = replace(merged[-1], span=merged[-1].span + 1)
        else:
            merged.append(cell)
    return merged
