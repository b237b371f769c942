"""iPhones and iPads: by devicectl of Xcode where it is, else by pymobiledevice3. On them only apps run."""

import re

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.ios import devicectl, pymobiledevice
from edgedistill.measure.ios.base import Attached, Iphone

NO_CLIENT = (
    "no tool for iPhones is here: on a Mac install Xcode 15 or later (its devicectl is used), elsewhere pymobiledevice3 "
    "(`pip install 'edgedistill[ios]'`)"
)
# A word that begins with a dash would be an option of the tools.
_UDID = re.compile(r"[0-9A-Fa-f][0-9A-Fa-f-]{7,63}")


def iphone(udid: str) -> Iphone:
    """The phone with this UDID, without contacting it. Raises UserError for what is no UDID, DeviceFailed if no tool is there."""
    check(udid)
    if devicectl.is_here():
        return devicectl.Devicectl(udid)
    if (program := pymobiledevice.program()) is not None:
        return pymobiledevice.Pymobiledevice(udid, program)
    raise DeviceFailed(NO_CLIENT)


def check(udid: str) -> None:
    """Raise UserError for what is no UDID."""
    if _UDID.fullmatch(udid) is None:
        raise UserError(f"found device 'ios:{udid}', expected a UDID such as ios:00008110-000A1B2C3D4E5F6A; see `edgedistill devices`")


def attached() -> list[Attached]:
    """The phones that are attached or paired, also those that can't be used. Raises DeviceFailed if no tool is there, or if it fails."""
    if devicectl.is_here():
        return devicectl.attached()
    if (program := pymobiledevice.program()) is not None:
        return pymobiledevice.attached(program)
    raise DeviceFailed(NO_CLIENT)
