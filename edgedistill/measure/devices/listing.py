"""Lists the attached devices: this machine, the phones of adb, iPhones, and the boards of a fleet."""

import platform

from edgedistill.errors import DeviceFailed
from edgedistill.measure import ios
from edgedistill.measure.devices import facts, open_device
from edgedistill.measure.devices.adb import attached, refusal
from edgedistill.measure.ios import facts as ios_facts
from edgedistill.records import Unavailable
from edgedistill.records.devices import Battery, DeviceFacts, UnreachableDevice

_LINUX_ONLY = "it is read on Linux only"


def devices(specs: list[str]) -> list[DeviceFacts | UnreachableDevice]:
    """This machine, each phone of adb, each iPhone and each of `specs`: its facts, or why it can't be used."""
    rows: list[DeviceFacts | UnreachableDevice] = [local()]
    reasons: dict[str, str] = {}
    no_iphones: list[UnreachableDevice] = []
    try:
        for phone in attached():
            spec = f"adb:{phone['serial']}"
            specs = [*specs, *([] if spec in specs else [spec])]
            if (why := refusal(phone["state"])) is not None:
                reasons[spec] = why
    except DeviceFailed as error:
        rows.append(UnreachableDevice(spec="adb", unavailable=str(error)))
    try:
        specs = [*specs, *(phone.spec for phone in ios.attached())]
    except DeviceFailed as error:
        no_iphones = [UnreachableDevice(spec="ios", unavailable=str(error))]
    for spec in dict.fromkeys(specs):
        rows.append(UnreachableDevice(spec=spec, unavailable=reasons[spec]) if spec in reasons else _row(spec))
    return [*rows, *no_iphones]


def _row(spec: str) -> DeviceFacts | UnreachableDevice:
    try:
        return _iphone(spec) if spec.startswith("ios:") else facts.read(open_device(spec))
    except DeviceFailed as error:
        return UnreachableDevice(spec=spec, unavailable=str(error))


def _iphone(spec: str) -> DeviceFacts:
    phone = ios.iphone(spec.partition(":")[2])
    return ios_facts.described(ios_facts.usable(phone), ios_facts.battery(phone))


def local() -> DeviceFacts:
    """This machine: the facts of the script on Linux, and psutil's figures on every system."""
    import psutil

    read = facts.read(open_device("local")) if platform.system() == "Linux" else _without_script()
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    charge: Battery | Unavailable = read.battery
    if battery is not None:
        status = "charging" if battery.power_plugged else "discharging"
        charge = Battery(level=float(battery.percent), status=status, powered_by=["AC"] if battery.power_plugged else [])
    return read.model_copy(
        update={
            "model": platform.node() if isinstance(read.model, Unavailable) else read.model,
            "memory_bytes": psutil.virtual_memory().total,
            "os": platform.platform() if isinstance(read.os, Unavailable) else read.os,
            "abi": platform.machine() if isinstance(read.abi, Unavailable) else read.abi,
            "battery": charge,
            # Measurements in a virtual machine that runs this program are valid for that virtual machine.
            "emulated": None,
        }
    )


def _without_script() -> DeviceFacts:
    """What is known of this machine where the script does not run."""
    unknown = Unavailable(unavailable=_LINUX_ONLY)
    return DeviceFacts(
        spec="local", model=unknown, soc=unknown, os=unknown, abi=unknown, kernel=unknown, cores=[], memory_bytes=unknown,
        machine=platform.machine(), boot=None, user=None, governor=unknown, battery=Unavailable(unavailable="it has no battery"),
        emulated=None, measurable={},
    )  # fmt: skip
