"""Devices: what each one is, and what can be measured on it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgedistill.records.base import Record, Unavailable


class Core(Record):
    """A core of the processor, and its highest frequency."""

    core: int = Field(description="Its number.")
    max_mhz: float | Unavailable


class Battery(Record):
    """The state of a device's battery."""

    level: float = Field(description="Charge in percent.")
    status: str = Field(description="charging, discharging, not charging, full or unknown.")
    powered_by: list[str] | None = Field(description="USB, AC or neither; null where the system does not report it.")


class DeviceIdentity(Record):
    """What a device is."""

    spec: str = Field(description="How it is reached: local, adb:SERIAL, ssh:user@host[:port] or ios:UDID.")
    model: str | Unavailable
    soc: str | Unavailable = Field(description="Its processor.")
    os: str | Unavailable
    abi: str | Unavailable
    kernel: str | Unavailable
    cores: list[Core]
    memory_bytes: int | Unavailable


class DeviceFacts(DeviceIdentity):
    """A device, its state, and what can be measured on it."""

    machine: str = Field(description="Architecture of its kernel.")
    boot: str | None = Field(description="Id of the present boot.")
    user: str | None = Field(description="User of the session.")
    governor: str | Unavailable = Field(description="Frequency governor of the first core.")
    battery: Battery | Unavailable
    emulated: str | None = Field(description="Why figures from there say nothing about a real device; null for a real one.")
    measurable: dict[str, Literal[True] | str] = Field(description="By quantity: true, or why it cannot be measured.")

    @property
    def identity(self) -> DeviceIdentity:
        """What the device is, without its state."""
        return DeviceIdentity(**{name: getattr(self, name) for name in DeviceIdentity.model_fields})


class UnreachableDevice(Unavailable):
    """A device that does not answer, and the reason."""

    spec: str


class DeviceList(Record):
    """What `devices` prints: this machine, the phones of adb, iPhones, and the boards that were named."""

    devices: list[DeviceFacts | UnreachableDevice]
