"""Where artifacts are measured: this machine, phones over adb, boards over ssh. On iPhones only apps are measured."""

from edgedistill.errors import UserError
from edgedistill.measure.devices.base import Device

FORMS = "local, adb:SERIAL, ssh:user@host[:port] or ios:UDID"
_ONLY_APPS = (
    "found device '{}': on an iPhone only apps run; build apps/ios with the bundle of the file (see its README), "
    "and measure the file in it: bench FILE --app BUNDLE_ID --device ios:UDID"
)


def open_device(spec: str) -> Device:
    """The device that `spec` names, without contacting it. Raises UserError for another form of spec, and for an iPhone."""
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
    if kind == "ios" and rest:
        raise UserError(_ONLY_APPS.format(spec))
    raise UserError(f"found device '{spec}', expected {FORMS}; `edgedistill devices` lists what is attached")


def check(spec: str) -> None:
    """Raise UserError for what is no spec of a device."""
    kind, _, rest = spec.partition(":")
    if kind == "ios" and rest:
        from edgedistill.measure import ios

        ios.check(rest)
    else:
        open_device(spec)
