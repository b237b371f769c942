"""The command devices: attached devices, and what can be measured on each."""

from pathlib import Path
from typing import Any

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console


def devices(names: list[str], fleet: Path | None, *, as_json: bool) -> None:
    """List this machine, the phones of adb, and the boards that are named or in the fleet."""

    def work() -> dict[str, Any]:
        from edgedistill.measure.devices import listing
        from edgedistill.measure.fleet import resolve

        return {"devices": listing.devices(resolve(names or ["all"], fleet) if names or fleet else [])}

    finish(as_json, work, _show)


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    screen = console()
    table = Table(title="devices")
    for column in ("device", "model", "processor", "cores", "memory", "system", "ABI", "battery"):
        table.add_column(column)
    for row in document["devices"]:
        if "unavailable" in row:
            table.add_row(row["spec"], f"unavailable: {row['unavailable']}")
            continue
        table.add_row(
            row["spec"], _text(row["model"]), _text(row["soc"]), cores(row["cores"]), _memory(row["memory_bytes"]), _text(row["os"]),
            _text(row["abi"]), _battery(row["battery"]),
        )  # fmt: skip
    screen.print(table)
    for row in document["devices"]:
        if "unavailable" in row:
            continue
        can = [name for name, state in row["measurable"].items() if state is True]
        rest = [f"{name} ({state})" for name, state in row["measurable"].items() if state is not True]
        screen.print(f"{row['spec']}: measures {', '.join(can) or 'nothing'}", soft_wrap=True, highlight=False)
        if rest:
            screen.print(f"  not {'; '.join(rest)}", soft_wrap=True, highlight=False)
        if row["emulated"]:
            screen.print(f"  what is measured there is invalid: {row['emulated']}", soft_wrap=True, highlight=False)


def cores(found: list[dict[str, Any]]) -> str:
    """Cores by their maximum frequency, as `4 x 2400 MHz + 4 x 1800 MHz`."""
    counts: dict[Any, int] = {}
    for core in found:
        top = core["max_mhz"] if isinstance(core["max_mhz"], int | float) else None
        counts[top] = counts.get(top, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: -(item[0] or 0))
    return " + ".join(f"{n} x {top:.0f} MHz" if top else str(n) for top, n in ordered)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "unknown"


def _memory(value: Any) -> str:
    return f"{value / 2**30:.1f} GiB" if isinstance(value, int) else "unknown"


def _battery(value: dict[str, Any]) -> str:
    if "level" not in value:
        return "-"
    powered = f", powered by {' and '.join(value['powered_by'])}" if value["powered_by"] else ""
    return f"{value['level']:.0f}%, {value['status']}{powered}"
