"""Power monitors of Texas Instruments read directly over I2C, where no kernel driver has them. Nothing is written to the chip.

Registers and least significant bits:
INA219, SBOS448G, section 8.6: 01h shunt voltage 10 µV, 02h bus voltage 4 mV from bit 3 on, 00h bits 11 and 12 the range of the shunt.
INA226, SBOS547A, section 7.6: 01h shunt voltage 2.5 µV, 02h bus voltage 1.25 mV, FFh die 2260h.
INA260, SBOS656C, section 8.6: 01h current 1.25 mA, 02h bus voltage 1.25 mV, FFh die 2270h; the shunt is inside.
Power is current times voltage here: the chips' own power registers need a calibration to be written, or are coarser.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgedistill.measure.runner.job_types import InaChip
from edgedistill.measure.runner.sensors.base import Missing, Scope, Source, why

Register = Callable[[int], int]

# linux/i2c-dev.h
_I2C_SLAVE = 0x0703
_DIE = 0xFF
_DIES = {"ina226": 0x2260, "ina260": 0x2270}
_CHIPS = ("ina219", *_DIES)
_INSIDE_INA260_OHM = 2e-3


def find(scope: Scope) -> Iterator[Source | Missing]:
    """power.<name> W, current.<name> mA and voltage.<name> mV of each chip in the option "ina".

    An entry is {"chip": "ina219" | "ina226" | "ina260", "bus": 1, "address": 64, "shunt_ohm": 0.1, "name": "board"}; ina260 needs no shunt.
    Its place in the circuit is the user's: what flows through the shunt is measured, whatever that is.
    """
    for entry in scope.options.get("ina", ()):
        name = str(entry.get("name", entry.get("chip")))
        try:
            yield _source(scope, name, entry)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"the entry has no {error}" if isinstance(error, KeyError) else why(error)
            if isinstance(error, OSError) and error.errno == errno.EBUSY:
                reason = "a kernel driver has this chip: look for it among the hwmon sensors"
            yield Missing(f"power.{name}", "W", reason)


def decode(chip: str, register: Register, shunt_ohm: float) -> tuple[float, float]:
    """Current in A and bus voltage in V of a chip; `register(number)` reads 16 bits. Raises ValueError when the current is out of range."""
    first, bus, full = _signed(register(0x01)), register(0x02), 0x7FFF
    if chip == "ina219":
        # 40 mV times the power of two that its gain divides by.
        full = 4000 << (register(0x00) >> 11 & 0b11)
    if abs(first) >= full:
        raise ValueError(f"the current is out of the range of the {chip}")
    if chip == "ina260":
        return first * 1.25e-3, bus * 1.25e-3
    if chip == "ina226":
        return first * 2.5e-6 / shunt_ohm, bus * 1.25e-3
    return first * 10e-6 / shunt_ohm, (bus >> 3) * 4e-3


def _source(scope: Scope, name: str, entry: InaChip) -> Source:
    chip, bus, address = entry["chip"], int(entry["bus"]), int(entry["address"])
    if chip not in _CHIPS:
        raise ValueError(f"chip {chip!r} is unknown; known are {', '.join(_CHIPS)}")
    shunt = _INSIDE_INA260_OHM if chip == "ina260" else float(entry["shunt_ohm"])
    if shunt <= 0:
        raise ValueError(f"shunt_ohm must be positive, found {shunt:g}")
    device = scope.root / f"dev/i2c-{bus}"

    def read() -> dict[str, float]:
        with _open(str(device), address) as register:
            ampere, volt = decode(chip, register, shunt)
        return {f"power.{name}": ampere * volt, f"current.{name}": ampere * 1000, f"voltage.{name}": volt * 1000}

    if chip in _DIES:
        with _open(str(device), address) as register:
            die = register(_DIE)
        # The lowest four bits are the revision.
        if die & 0xFFF0 != _DIES[chip]:
            raise ValueError(f"address {address:#x} of bus {bus} holds no {chip}: expected die {_DIES[chip]:#06x}, found {die:#06x}")
    read()
    units = {f"power.{name}": "W", f"current.{name}": "mA", f"voltage.{name}": "mV"}
    return Source(units, f"{chip} at {address:#x} of {device}, shunt {shunt:g} ohm", read)


@contextmanager
def _open(device: str, address: int) -> Iterator[Register]:
    import fcntl  # not on Windows, where this file is only imported

    handle = os.open(device, os.O_RDWR)
    try:
        fcntl.ioctl(handle, _I2C_SLAVE, address)

        def register(number: int) -> int:
            # The chip keeps the register pointer that was written last.
            os.write(handle, bytes([number]))
            data = os.read(handle, 2)
            if len(data) != 2:
                raise OSError(f"{device} gave {len(data)} bytes of a register of 2")
            return int.from_bytes(data, "big")

        yield register
    finally:
        os.close(handle)


def _signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word
