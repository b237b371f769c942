"""What an iPhone is and what can be measured on it, in the form that all devices have."""

from typing import Literal

from edgedistill.errors import DeviceFailed
from edgedistill.measure.ios.base import Attached, BatteryReading, Iphone
from edgedistill.records import Unavailable
from edgedistill.records.devices import Battery, DeviceFacts

NOT_TOLD = "iOS tells it neither to apps nor to this computer"
_BY_APP = "only while an app is measured: the app reads it"


def usable(phone: Iphone) -> Attached:
    """What a phone is. Raises DeviceFailed for one that can't be used, with what to do."""
    about = phone.about()
    if about.refused is not None:
        raise DeviceFailed(f"{about.spec}: {about.refused}")
    return about


def battery(phone: Iphone) -> BatteryReading | str:
    """A reading of the battery, or why there is none. Nothing depends on it, so that no failure of it ends anything."""
    try:
        return phone.battery()
    except DeviceFailed as error:
        return str(error)


def described(about: Attached, reading: BatteryReading | str) -> DeviceFacts:
    """The facts from what the tool told. reading: of the battery, or why there is none."""
    unknown = Unavailable(unavailable=NOT_TOLD)
    measurable: dict[str, Literal[True] | str] = {
        "latency in an app": True,
        "memory": _BY_APP,
        "thermal state": _BY_APP,
        "battery": reading if isinstance(reading, str) else True,
        "temperature": _temperature(reading),
        "frequency": NOT_TOLD,
        "governor": NOT_TOLD,
        "power": "the battery is not read while an app is measured",
    }
    return DeviceFacts(
        spec=about.spec, model=about.model, soc=unknown, os=about.system, cores=[], kernel=unknown, memory_bytes=unknown,
        abi=about.architecture or unknown, machine=about.architecture or "", boot=None, user=None, governor=unknown,
        battery=_battery(reading), emulated=None, measurable=measurable,
    )  # fmt: skip


def _temperature(reading: BatteryReading | str) -> Literal[True] | str:
    if isinstance(reading, str):
        return reading
    return True if reading.temperature is not None else "the phone does not tell that of its battery"


def _battery(reading: BatteryReading | str) -> Battery | Unavailable:
    if isinstance(reading, str):
        return Unavailable(unavailable=reading)
    status = "charging" if reading.charging else "not charging" if reading.powered else "discharging"
    # Whether it is a cable of this computer or a charger is not told.
    return Battery(level=reading.level, status=status, powered_by=None)
