"""The interface of an iPhone or iPad, independent of the tool that reaches it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgedistill.errors import DeviceFailed
from edgedistill.measure.devices.base import Reached

DOCUMENTS = "Documents"
"""The folder of an app that a host may read and write."""
NO_BATTERY = "devicectl does not tell the battery; install pymobiledevice3 (`pip install 'edgedistill[ios]'`), which does"


class UnknownIphone(DeviceFailed):
    """No phone with the UDID is attached."""


@dataclass(frozen=True)
class Attached:
    """What a phone is. None stands for what the tool does not tell.

    refused: why it can't be used, with what to do. wired: whether a cable connects it.
    """

    udid: str
    name: str
    product: str
    marketing_name: str | None
    system: str
    architecture: str | None
    wired: bool | None
    refused: str | None = None

    @property
    def spec(self) -> str:
        """ios:UDID."""
        return f"ios:{self.udid}"

    @property
    def model(self) -> str:
        """As `iPhone 15 Pro (iPhone16,1)`."""
        return f"{self.marketing_name} ({self.product})" if self.marketing_name else self.product


@dataclass(frozen=True)
class InstalledApp:
    """An app on the phone. development: whether it is signed for development; None where the tool does not tell."""

    bundle: str
    version: str
    number: str
    development: bool | None

    @property
    def build(self) -> str:
        """Says in a measurement what was measured."""
        signing = {True: ", signed for development", False: ", signed for distribution", None: ""}[self.development]
        return f"app {self.bundle} {self.version} (build {self.number}){signing}"


@dataclass(frozen=True)
class BatteryReading:
    """A reading of the battery: level in %, temperature in °C, voltage in mV, current in mA (positive while discharging)."""

    level: float
    charging: bool
    powered: bool
    temperature: float | None
    voltage: float | None
    current: float | None


class Iphone(Reached, Protocol):
    """A phone, and its apps. Each method raises LinkLost if the phone can't be reached, and DeviceFailed for what it refuses."""

    def about(self) -> Attached:
        """What it is. Raises UnknownIphone if it is not attached."""

    def battery(self) -> BatteryReading | str:
        """A reading of the battery, or why there is none."""

    def install(self, package: Path) -> None:
        """Install an .ipa or .app."""

    def installed(self, bundle: str) -> InstalledApp | None:
        """The app with this bundle identifier; None if it is not installed."""

    def start(self, bundle: str, environment: dict[str, str]) -> None:
        """Start an app in the foreground with these environment variables; one that runs is ended first."""

    def running(self, bundle: str) -> bool:
        """Whether the app has a process."""

    def terminate(self, bundle: str) -> None:
        """End the app, if it runs."""

    def pull(self, bundle: str, path: str, limit: int) -> bytes:
        """The content of a file in the app's Documents, of at most `limit` bytes."""

    def push(self, bundle: str, data: bytes, path: str) -> None:
        """Write a file in the app's Documents; its folder is made."""
