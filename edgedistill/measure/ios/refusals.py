"""What the messages of devicectl and pymobiledevice3 mean, and what to do. Both pass on the texts of iOS."""

import re

from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices.base import LinkLost

NOT_PAIRED = "it does not trust this computer: connect it by a cable, unlock it, and accept the question on it"
LOCKED = "it is locked: unlock it, and let it stay unlocked (Settings > Display & Brightness > Auto-Lock > Never)"
NO_DEVELOPER_MODE = "its Developer Mode is off: turn it on in Settings > Privacy & Security > Developer Mode"
_NOT_TRUSTED = "it does not trust the developer of the app: allow it in Settings > General > VPN & Device Management"
_NO_IMAGE = (
    "its developer services are not there: turn on Developer Mode, and mount the image of its iOS version once, with "
    "`pymobiledevice3 mounter auto-mount` or by opening Xcode's window Devices"
)
_NO_USBMUXD = "usbmuxd does not run, which reaches iPhones on a cable: install its package and start it (macOS has it)"
# The first that fits. What iOS says first is what one can do something about, so it stands before the dropped link that it causes.
_REFUSED = (
    (r"usbmuxd socket", _NO_USBMUXD),
    (r"explicitly trusted|invalid code signature|profile has not been", _NOT_TRUSTED),
    (r"\blocked\b|could not be,? unlocked|passcode|password protected|unlock the device", LOCKED),
    (
        r"not paired|no pair record|pairing record|trust dialog|refused to trust|does not trust this computer|pairing with the",
        NOT_PAIRED,
    ),
    # The advice of pymobiledevice3 for a service that is not there names Developer Mode too.
    (r"developer disk image|failed to start service|personalized ?image", _NO_IMAGE),
    (r"developer mode", NO_DEVELOPER_MODE),
)
_LINK = re.compile(
    r"device was not found|device not found|device is not connected|not connected|connection (was|failed|reset|terminated|lost)|"
    r"tunnel connection|closed the (stream|connection)|failed to connect to service|timed out|network is unreachable|disconnected",
    re.IGNORECASE,
)


def raised(spec: str, said: str, tool: str) -> DeviceFailed:
    """The error that a message `said` of a tool stands for."""
    # Boxes that are drawn around a message break its lines anywhere.
    said = " ".join(said.split())
    where = f"{spec}: " if spec else ""
    for pattern, meaning in _REFUSED:
        if re.search(pattern, said, re.IGNORECASE):
            return DeviceFailed(f"{where}{meaning}; {tool} said: {_short(said)}")
    kind = LinkLost if _LINK.search(said) else DeviceFailed
    return kind(f"{where}{tool} said: {_short(said)}")


def _short(text: str) -> str:
    """A message of at most 300 characters."""
    return text if len(text) <= 300 else f"{text[:297]}..."
