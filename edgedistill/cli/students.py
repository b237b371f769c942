"""The command students."""

from pathlib import Path
from typing import Any

from edgedistill.cli.output import finish


def students(names: list[str], target: str, runs_dir: Path, *, device: str, options: dict[str, Any], as_json: bool) -> None:
    """Compare the models `names` for a target."""

    def work() -> dict[str, Any]:
        from edgedistill.errors import UserError

        if device != "local":
            raise UserError(
                f"found device '{device}', expected local: students are compared on this machine only; bench measures on devices"
            )
        if options["activation"] not in (None, "relu", "relu6"):
            raise UserError(f"found --activation {options['activation']}, expected relu or relu6")
        from edgedistill.steps.students import students as compare

        return compare(names, target, runs_dir, **options)

    finish(as_json, work, _show)


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    from edgedistill.cli.tables import console

    limit = document["max_ms"]
    table = Table(title=f"int8 {document['format']} for {document['target']} on {document['device']}, {document['image_size']} pixels")
    table.add_column("model", no_wrap=True)
    for name in ("parameters", "MACs", "size", "p50 ms", "p95 ms", "partitions"):
        table.add_column(name, justify="right")
    table.add_column("left to slow kernels")
    if limit is not None:
        table.add_column(f"<= {limit:g} ms")
    for row in document["students"]:
        macs = f"{row['macs'] / 1e6:.1f} M" if isinstance(row["macs"], int) else "-"
        cells = [row["model"], f"{row['parameters'] / 1e6:.2f} M", macs]
        if "error" in row:
            table.add_row(*cells, "-", "-", "-", "-", row["error"].splitlines()[0][:100])
            continue
        p95 = row["latency_ms"]["p95"]
        cells += [f"{row['bytes'] / 1024:.0f} KiB", f"{row['latency_ms']['p50']:.2f}", f"{p95:.2f}" if isinstance(p95, float) else "-"]
        outside = ", ".join(f"{count} {name}" for name, count in row["delegation"]["outside"].items())
        cells += [str(row["delegation"]["partitions"]), outside or "nothing"]
        table.add_row(*cells, *([] if limit is None else ["yes" if row["fits"] else "no"]))
    console().print(table)
    if limit is not None:
        fitting = [row["model"] for row in document["students"] if row["fits"]]
        print(f"within {limit:g} ms: {', '.join(fitting) or 'none of them'}")
