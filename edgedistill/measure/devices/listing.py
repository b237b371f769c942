"""Lists the attached devices: this machine, the phones of adb, and the boards of a fleet."""

import platform
from typing import Any

from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices import facts, open_device
from edgedistill.measure.devices.adb import attached, refusal
from edgedistill.measure.statistics import unavailable


def devices(specs: list[str]) -> list[dict[str, Any]]:
    """A row for this machine, for each phone of adb and for each of `specs`: its facts, or `unavailable` with the reason."""
    rows = [local()]
    reasons: dict[str, str] = {}
    try:
        for phone in attached():
            spec = f"adb:{phone['serial']}"
            specs = [*specs, *([] if spec in specs else [spec])]
            if (why := refusal(phone["state"])) is not None:
                reasons[spec] = why
    except DeviceFailed as error:
        rows.append({"spec": "adb", **unavailable(str(error))})
    for spec in dict.fromkeys(specs):
        rows.append({"spec": spec, **unavailable(reasons[spec])} if spec in reasons else _row(spec))
    return rows


def _row(spec: str) -> dict[str, Any]:
    try:
        return facts.read(open_device(spec))
    except DeviceFailed as error:
        return {"spec": spec, **unavailable(str(error))}


def local() -> dict[str, Any]:
    """This machine: the facts of the script on Linux, and psutil's figures on every system."""
    import psutil

    row: dict[str, Any] = {"cores": [], "measurable": {}, "emulated": None, "battery": unavailable("it has no battery")}
    if platform.system() == "Linux":
        row = facts.read(open_device("local"))
    name = row.get("model")
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is not None:
        status = "charging" if battery.power_plugged else "discharging"
        row["battery"] = {"level": float(battery.percent), "status": status, "powered_by": ["AC"] if battery.power_plugged else []}
    return row | {
        "spec": "local",
        "model": name if isinstance(name, str) else platform.node(),
        "memory_bytes": psutil.virtual_memory().total,
        "os": row.get("os") or platform.platform(),
        "abi": row.get("abi") or platform.machine(),
        # Measurements in a virtual machine that runs this program are valid for that virtual machine.
        "emulated": None,
    }
