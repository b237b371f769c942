"""Showing and starting measurements on devices."""

from pathlib import Path
from typing import Any

from edgedistill.cli.output import finish
from edgedistill.cli.parallel import interruptible, on_each
from edgedistill.cli.tables import console


def bench(
    run_or_file: Path | None, devices: list[str], fleet: Path | None, options: dict[str, Any], more: dict[str, Any], runs_dir: Path, *,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure on devices under the protocol; options: the fields of `measure.harness.Protocol`; more: save, against and the runner's."""

    def work() -> dict[str, Any]:
        from edgedistill.measure.fleet import resolve
        from edgedistill.measure.harness import Protocol
        from edgedistill.steps import flow

        specs = resolve(devices, fleet)
        chosen = run_or_file if run_or_file is not None else flow.newest_run(runs_dir)
        protocol = Protocol(**options | {"cores": core_list(options["cores"])})
        if len(specs) > 1:
            return on_each(["bench", str(chosen), *arguments(options | more)], specs)
        interruptible()
        return flow.bench_on(chosen, specs[0], protocol, **more)

    finish(as_json, work, show)


def arguments(options: dict[str, Any]) -> list[str]:
    """The command line that gives `options`, by the names of their fields; one with several values is given as often."""
    found = []
    for key, value in options.items():
        values = value if isinstance(value, list) else [value] if value is not None else []
        found += [part for one in values for part in (f"--{key.replace('_', '-')}", str(one))]
    return found


def core_list(text: str | None) -> str | list[int] | None:
    """Cores as --cores takes them: big, little, or numbers with commas between them. Raises UserError for anything else."""
    from edgedistill.errors import UserError

    if text is None or text in ("big", "little"):
        return text
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--cores: found '{text}', expected big, little, or numbers as 4,5,6,7") from error


def show(document: dict[str, Any]) -> None:
    """What was measured on one device, or one table with a column a device."""
    if "devices" not in document:
        _show_one(document)
        return
    from rich.table import Table

    screen = console()
    table = Table(title="median ms [95%] and validity")
    table.add_column("file")
    rows: dict[str, dict[str, str]] = {}
    for one in document["devices"]:
        table.add_column(one["device"], justify="right")
        for measurement in one.get("measurements", []):
            _, median, *_, validity = _cells(measurement)
            rows.setdefault(measurement["artifact"]["name"], {})[one["device"]] = f"{median}\n{validity}"
    for name, cells in rows.items():
        table.add_row(name, *(cells.get(one["device"], "-") for one in document["devices"]))
    screen.print(table)
    for one in document["devices"]:
        if "error" in one:
            screen.print(f"{one['device']}: {one['error']}", soft_wrap=True, highlight=False, markup=False)


def _show_one(document: dict[str, Any]) -> None:
    """A table with a row a file, the reasons for what is not valid, and each int8 file beside its fp32 twin."""
    from rich.table import Table

    screen = console()
    first = document["measurements"][0]
    model = first["device"]["model"] if isinstance(first["device"]["model"], str) else "unknown model"
    table = Table(title=f"{document['device']}: {model}, {first['threads']} thread(s), {first['protocol']['preset']}")
    for column in ("file", "p50 ms [95%]", "p95", "p99", "n", "load ms", "peak MB", "outputs", "mJ", "validity"):
        table.add_column(column, justify="left" if column in ("file", "outputs", "validity") else "right")
    for one in document["measurements"]:
        table.add_row(*_cells(one))
    screen.print(table)
    screen.print(first["build"], highlight=False)
    for one in document["measurements"]:
        for reason in one["reasons"]:
            screen.print(f"{one['artifact']['name']}: {reason}", soft_wrap=True, highlight=False, markup=False)
        held = one.get("regression")
        if held is not None:
            text = held["text"] if "verdict" in held else f"not compared: {held['unavailable']}"
            screen.print(f"{one['artifact']['name']}: {text}", soft_wrap=True, highlight=False, markup=False)
    for line in twins(document["measurements"]):
        screen.print(line, highlight=False)


def _cells(one: dict[str, Any]) -> list[str]:
    latency = one["latency_ms"]
    if "p50" not in latency:
        return [one["artifact"]["name"], *["-"] * 8, one["validity"]]
    low, high = one["intervals_ms"]["p50"] if isinstance(one["intervals_ms"].get("p50"), list) else (None, None)
    interval = f" [{low:.3f}, {high:.3f}]" if low is not None else ""
    energy, loads = one.get("energy", {}).get("mj_per_inference"), one["load_ms"]
    tails = [_number(latency["p95"], 3), _number(latency["p99"], 3), str(latency["n"])]
    costs = [_number(loads["cold"], 1), _number(one["peak_rss_mb"], 1), outputs_text(one.get("outputs", {})), _number(energy, 3)]
    return [one["artifact"]["name"], f"{_middle(latency)}{interval}", *tails, *costs, one["validity"]]


def _middle(latency: dict[str, Any]) -> str:
    """The median, or the average of a program that prints no median."""
    return _number(latency["p50"], 3) if isinstance(latency["p50"], float) else f"average {_number(latency.get('average'), 3)}"


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, int | float) else "-"


def outputs_text(compared: dict[str, Any]) -> str:
    """How a device's outputs compare with this machine's, in a word or two."""
    if "unavailable" in compared or not compared:
        return "not compared"
    if compared.get("exact") == 1.0 or compared.get("equal"):
        return "equal"
    near = f"max {compared['max_lsb']:.0f} LSB" if "max_lsb" in compared else f"max {compared.get('max_abs', float('nan')):.1e}"
    return near if compared["ok"] else f"DIFFER, {near}"


def twins(documents: list[dict[str, Any]]) -> list[str]:
    """A line for each file of another precision than fp32 that has an fp32 twin in its format: how many times as fast it is."""
    measured = [
        one for one in documents if isinstance(one["latency_ms"].get("p50"), float) and one["artifact"]["name"].startswith("student")
    ]
    plain = {one["artifact"]["format"]: one for one in measured if one["artifact"]["precision"] == "fp32"}
    lines = []
    for one in measured:
        twin = plain.get(one["artifact"]["format"])
        if twin is None or one is twin:
            continue
        times = twin["latency_ms"]["p50"] / one["latency_ms"]["p50"]
        lines.append(
            f"{one['artifact']['name']}: {times:.2f} times as fast as {twin['artifact']['name']} ({twin['latency_ms']['p50']:.3f} ms)"
        )
    return lines
