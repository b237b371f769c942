"""The command devices: attached devices, and what can be measured on each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.records import Unavailable
    from edgedistill.records.devices import Battery, Core, DeviceFacts, DeviceList


def devices(names: list[str], fleet: Path | None, *, as_json: bool) -> None:
    """List this machine, the phones of adb, iPhones, and the boards that are named or in the fleet."""

    def work() -> DeviceList:
        from edgedistill.measure.devices import listing
        from edgedistill.measure.fleet import resolve
        from edgedistill.records.devices import DeviceList

        return DeviceList(devices=listing.devices(resolve(names or ["all"], fleet) if names or fleet else []))

    finish(as_json, work, _show)


def _show(document: DeviceList) -> None:
    from rich.table import Table

    from edgedistill.records.devices import DeviceFacts

    screen = console()
    table = Table(title="devices")
    for column in ("device", "model", "processor", "cores", "memory", "system", "ABI", "battery"):
        table.add_column(column)
    reached = [device for device in document.devices if isinstance(device, DeviceFacts)]
    for device in document.devices:
        table.add_row(*(_cells(device) if isinstance(device, DeviceFacts) else (device.spec, f"unavailable: {device.unavailable}")))
    screen.print(table)
    for device in reached:
        can = [name for name, state in device.measurable.items() if state is True]
        cannot = [f"{name} ({state})" for name, state in device.measurable.items() if state is not True]
        screen.print(f"{device.spec}: measures {', '.join(can) or 'nothing'}", soft_wrap=True, highlight=False)
        if cannot:
            screen.print(f"  not {'; '.join(cannot)}", soft_wrap=True, highlight=False)
        if device.emulated:
            screen.print(f"  what is measured there is invalid: {device.emulated}", soft_wrap=True, highlight=False)


def _cells(device: DeviceFacts) -> tuple[str, ...]:
    memory = f"{device.memory_bytes / 2**30:.1f} GiB" if isinstance(device.memory_bytes, int) else "unknown"
    texts = (device.model, device.soc, cores(device.cores), memory, device.os, device.abi)
    return (device.spec, *(text if isinstance(text, str) else "unknown" for text in texts), _battery(device.battery))


def cores(listed: list[Core]) -> str:
    """Cores by their highest frequency, as `4 x 2400 MHz + 4 x 1800 MHz`."""
    counts: dict[float | None, int] = {}
    for core in listed:
        highest = core.max_mhz if isinstance(core.max_mhz, float) else None
        counts[highest] = counts.get(highest, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: -(item[0] or 0))
    return " + ".join(f"{n} x {highest:.0f} MHz" if highest else str(n) for highest, n in ordered)


def _battery(battery: Battery | Unavailable) -> str:
    from edgedistill.records.devices import Battery

    if not isinstance(battery, Battery):
        return "-"
    powered = f", powered by {' and '.join(battery.powered_by)}" if battery.powered_by else ""
    return f"{battery.level:.0f}%, {battery.status}{powered}"
