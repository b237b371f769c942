"""Temperature and throttling of the board. What can't be read has the reason instead."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_MAX_AGE_S = 2.0
_TIMEOUT_S = 0.3
# Raspberry Pi documentation, Raspberry Pi OS, vcgencmd get_throttled.
_BITS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_START = 16
_SOC = re.compile(r"cpu|soc|x86_pkg", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """A value and where it comes from, or why there is none."""

    value: float | str | None
    source: str = ""
    unavailable: str = ""

    @property
    def document(self) -> dict[str, float | str | None]:
        """For JSON."""
        if self.value is None:
            return {"value": None, "unavailable": self.unavailable}
        return {"value": self.value, "source": self.source}

    def words(self, unit: str = "") -> str:
        """For people."""
        return f"unavailable: {self.unavailable}" if self.value is None else f"{self.value}{unit} ({self.source})"


class Health:
    """Reads the sensors when asked, and at most every two seconds: each call of vcgencmd starts a process."""

    def __init__(self, thermal: Path = Path("/sys/class/thermal")) -> None:
        self._thermal, self._lock = thermal, threading.Lock()
        self._read_at, self._last = float("-inf"), (Reading(None), Reading(None))

    def read(self) -> tuple[Reading, Reading]:
        """Temperature of the SoC in °C, and throttling in words."""
        with self._lock:
            if time.monotonic() - self._read_at > _MAX_AGE_S:
                self._last = temperature(self._thermal), throttling(self._thermal)
                self._read_at = time.monotonic()
            return self._last


def temperature(thermal: Path) -> Reading:
    """°C of the thermal zone of the processor or SoC; if no zone is named so, of the first one."""
    zones = sorted(thermal.glob("thermal_zone*"), key=lambda zone: int(zone.name.removeprefix("thermal_zone")))
    why = f"{thermal} has no thermal zone"
    named = {zone: _text(zone / "type") or zone.name for zone in zones}
    for zone in sorted(zones, key=lambda zone: _SOC.search(named[zone]) is None):
        try:
            return Reading(round(int((zone / "temp").read_text()) / 1000, 1), named[zone])
        except (OSError, ValueError) as error:
            why = f"{zone / 'temp'}: {getattr(error, 'strerror', None) or error}"
    return Reading(None, unavailable=why)


def throttling(thermal: Path) -> Reading:
    """What vcgencmd says; on boards without it, whether the kernel caps the frequency of a processor."""
    try:
        done = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return _cooling(thermal)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Reading(None, unavailable=f"vcgencmd: {error}")
    match = re.search(r"throttled=(0x[\da-fA-F]+)", done.stdout)
    if match is None:
        return Reading(None, unavailable=f"vcgencmd answered {(done.stdout + done.stderr).strip()[:100]!r}")
    return Reading(described(int(match[1], 16)), "vcgencmd")


def described(bits: int) -> str:
    """The bits of vcgencmd get_throttled in words."""
    now = [name for place, name in enumerate(_BITS) if bits >> place & 1]
    before = [name for place, name in enumerate(_BITS) if bits >> (place + _SINCE_START) & 1 and name not in now]
    parts = [f"now: {', '.join(now)}"] * bool(now) + [f"since the start: {', '.join(before)}"] * bool(before)
    return "; ".join(parts) or "none since the start"


def _cooling(thermal: Path) -> Reading:
    """The first cooling device of the kernel that caps a processor's frequency."""
    devices = [d for d in sorted(thermal.glob("cooling_device*")) if "cpufreq" in _text(d / "type")]
    for device in devices:
        state, most = _text(device / "cur_state"), _text(device / "max_state")
        if state not in ("", "0"):
            return Reading(f"now: frequency capped, step {state} of {most}", device.name)
    if devices:
        return Reading("none now", devices[0].name)
    return Reading(
        None, unavailable=f"there is no vcgencmd, and {thermal} has no cooling device of the processor's frequency"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
