"""The devices that are attached: this machine, what adb sees, and the boards of a fleet."""

import platform
from typing import Any

from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices import facts, open_device
from edgedistill.measure.devices.adb import attached, refusal
from edgedistill.measure.statistics import unavailable


def devices(specs: list[str]) -> list[dict[str, Any]]:
    """One row for this machine, each phone of adb, and each of `specs`: its facts, or `unavailable` with the reason."""
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
    """This machine: what the script reads where there is Linux, and psutil's figures everywhere."""
    import psutil

    found: dict[str, Any] = {"cores": [], "measurable": {}, "emulated": None, "battery": unavailable("it has no battery")}
    if platform.system() == "Linux":
        found = facts.read(open_device("local"))
    name = found.get("model")
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is not None:
        status = "charging" if battery.power_plugged else "discharging"
        found["battery"] = {"level": float(battery.percent), "status": status, "powered_by": ["AC"] if battery.power_plugged else []}
    return found | {
        "spec": "local",
        "model": name if isinstance(name, str) else platform.node(),
        "memory_bytes": psutil.virtual_memory().total,
        "os": found.get("os") or platform.platform(),
        "abi": found.get("abi") or platform.machine(),
        # A virtual machine that runs this program computes on its processor: what is measured here is true for here.
        "emulated": None,
    }
