"""The command results: the measurements of this project."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console


def results(which: str | None, filters: Mapping[str, str | None], *, export: Path | None, as_json: bool) -> None:
    """List the measurements that match `filters` (of `store.documents`), show one by its id or name, or write them all to a file."""

    def work() -> dict[str, Any]:
        from edgedistill.errors import UserError
        from edgedistill.measure import store, tabular

        if not store.PATH.exists():
            raise UserError(f"nothing was measured here yet ({store.PATH} is not there); measure with `edgedistill bench --device`")
        with store.opened() as measurements:
            if which is not None and which.isdigit():
                found = [measurements.get(which)]
            else:
                found = measurements.documents(**{**filters, **({"name": which} if which else {})})
                if which is not None and not found:
                    # Raises an error that lists the known names.
                    measurements.get(which)
        if export is None:
            return {"measurements": found}
        tabular.export(found, export)
        return {"export": str(export), "rows": len(found)}

    finish(as_json, work, _show)


def _show(document: dict[str, Any]) -> None:
    if "export" in document:
        print(f"{document['export']}: {document['rows']} rows")
        return
    found = document["measurements"]
    if len(found) == 1:
        _show_one(found[0])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{len(found)} measurements")
    for column in ("id", "when (UTC)", "device", "kind", "file", "threads", "median [95%]", "validity", "name"):
        table.add_column(column, justify="right" if column in ("id", "threads", "median [95%]") else "left")
    for one in found:
        files = ", ".join(artifact["name"] for artifact in _artifacts(one))
        cells = [str(one["id"]), one["created"][:16].replace("T", " "), one["device"]["spec"], one["kind"], files]
        # Names of files and devices may hold brackets, which are no markup.
        table.add_row(*map(Text, [*cells, str(one.get("threads", "-")), _figure(one), one["validity"], one["name"] or ""]))
    console().print(table)


def _show_one(one: dict[str, Any]) -> None:
    screen = console()

    def say(line: str) -> None:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)

    name = f" ({one['name']})" if one["name"] else ""
    say(f"{one['id']}{name}: {one['kind']} of {one['created']} on {one['device']['spec']}, {_known(one['device'].get('model'))}")
    for artifact in _artifacts(one):
        say(f"{artifact['name']}: {artifact.get('format', '-')}, {artifact.get('precision', '-')}, SHA-256 {artifact.get('sha256', '-')}")
    say(f"{_figure(one)}, {one.get('threads', '-')} thread(s), {one['validity']}")
    for reason in one.get("reasons", []):
        say(f"  {reason}")
    say(f"`edgedistill results {one['id']} --json` has all of it.")


def _artifacts(one: dict[str, Any]) -> list[dict[str, Any]]:
    """The file that was measured, or the two of a comparison."""
    return [side["artifact"] for side in ([one["a"], one["b"]] if one["kind"] == "compare" else [one])]


def _figure(one: dict[str, Any]) -> str:
    """The median of what was measured, or the ratio of a comparison."""
    if one["kind"] == "compare":
        return f"{with_interval(one['ratio']['value'], one['ratio']['interval'])} times A"
    median = one.get("latency_ms", {}).get("p50")
    return "-" if median is None else f"{with_interval(median, one.get('intervals_ms', {}).get('p50'))} ms"


def with_interval(value: Any, interval: Any) -> str:
    """A figure and its interval, as far as they are known."""
    if not isinstance(value, int | float):
        return "-"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]" if isinstance(interval, list) else f"{value:.3f}"


def _known(value: Any) -> str:
    return value if isinstance(value, str) else "unknown model"
