"""Values of a Raspberry Pi's firmware, through vcgencmd or sysfs.

Source: Raspberry Pi documentation, Raspberry Pi OS, "vcgencmd" (get_throttled, measure_temp, pmic_read_adc).
"""

import re
from collections.abc import Iterator

from edgedistill.measure.runner.sensors.base import Missing, Reader, Scope, Source, offer, text, why

# Each call starts a process, which takes milliseconds of a core.
_INTERVAL_S, _POWER_INTERVAL_S = 2.0, 1.0
_UNITS = {"temperature.firmware": "°C", "throttled.firmware": "bits"}
_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def find(scope: Scope) -> Iterator[Source | Missing]:
    """throttled.firmware in bits, temperature.firmware in °C, power.pmic.<rail> in W and their sum power.pmic.

    Bits 0 to 3 describe the present: under-voltage, frequency capped, throttled, soft temperature limit. Bits 16 to 19 describe the time
    since the start. power.pmic is the output of the regulators of a Pi 5. The 5 V input has a voltage (voltage.pmic.EXT5V in mV) but no
    current, so losses and devices on USB or the 5 V pins are not included.
    """
    firmware = scope.root / _THROTTLED
    if firmware.exists():
        # The driver prints hexadecimal digits without 0x.
        yield from offer({"throttled.firmware": lambda: float(int(text(firmware), 16))}, _UNITS, f"/{_THROTTLED}")

    def ask(*arguments: str) -> str:
        return scope.tool(["vcgencmd", *arguments])

    readers: dict[str, Reader] = {"temperature.firmware": lambda: temperature(ask("measure_temp"))}
    if not firmware.exists():
        readers["throttled.firmware"] = lambda: throttled(ask("get_throttled"))
    yield from offer(readers, _UNITS, "vcgencmd", _INTERVAL_S)
    try:
        first = pmic(ask("pmic_read_adc"))
    except (OSError, ValueError) as error:
        yield Missing("power.pmic", "W", why(error))
        return
    rails = {name: "mV" if name.startswith("voltage.") else "W" for name in first}
    yield Source(rails, "vcgencmd pmic_read_adc", lambda: pmic(ask("pmic_read_adc")), _POWER_INTERVAL_S)


def temperature(line: str) -> float:
    """°C of `temp=48.3'C`. Raises ValueError."""
    return _match(r"temp=(-?[\d.]+)'C", line)


def throttled(line: str) -> float:
    """The bits of `throttled=0x50005`. Raises ValueError."""
    if match := re.search(r"throttled=(0x[\da-fA-F]+)", line):
        return float(int(match[1], 16))
    raise ValueError(f"vcgencmd answered {line.strip()[:100]!r}")


def pmic(lines: str) -> dict[str, float]:
    """Power of each rail that has both a current and a voltage, in W, their sum, and the voltage of the input in mV. Raises ValueError."""
    amperes = {name: float(value) for name, value in re.findall(r"^\s*(\S+)_A current\(\d+\)=([\d.]+)A", lines, re.MULTILINE)}
    volts = {name: float(value) for name, value in re.findall(r"^\s*(\S+)_V volt\(\d+\)=([\d.]+)V", lines, re.MULTILINE)}
    watts = {f"power.pmic.{name}": ampere * volts[name] for name, ampere in amperes.items() if name in volts}
    if not watts:
        raise ValueError(f"vcgencmd pmic_read_adc reported no rail: {lines.strip()[:100]!r}")
    inlet = {"voltage.pmic.EXT5V": volts["EXT5V"] * 1000} if "EXT5V" in volts else {}
    return {"power.pmic": sum(watts.values()), **watts, **inlet}


def _match(pattern: str, line: str) -> float:
    if match := re.search(pattern, line):
        return float(match[1])
    raise ValueError(f"vcgencmd answered {line.strip()[:100]!r}")
