"""Where artifacts are measured: this machine, phones over adb, boards over ssh."""

from edgedistill.errors import UserError
from edgedistill.measure.devices.base import Device

FORMS = "local, adb:SERIAL or ssh:user@host[:port]"


def open_device(spec: str) -> Device:
    """The device that `spec` names, without contacting it. Raises UserError for another form of spec."""
    kind, _, rest = spec.partition(":")
    if kind == "adb" and rest:
        from edgedistill.measure.devices.adb import AdbDevice

        return AdbDevice(rest)
    if kind == "ssh" and rest:
        from edgedistill.measure.devices.ssh import SshDevice

        return SshDevice(rest)
    if spec == "local":
        from edgedistill.measure.devices.local import LocalDevice

        return LocalDevice()
    if kind == "ios":
        raise UserError(f"found device '{spec}': this version cannot measure iOS devices; expected {FORMS}")
    raise UserError(f"found device '{spec}', expected {FORMS}; `edgedistill devices` lists what is attached")
