"""Android's thermal service, through `dumpsys thermalservice`."""

import math
import re
from collections.abc import Iterator

from edgedistill.measure.runner.sensors.base import Missing, Scope, Source, why

_COMMAND = ["dumpsys", "thermalservice"]
# The call makes the service read every temperature from the hardware layer.
_INTERVAL_S = 2.0
# Temperature.aidl and ThrottlingSeverity.aidl of AOSP.
_SKIN, _SEVERE = 3, 3
_KINDS = ("cpu", "gpu", "battery", "usb", "power_amplifier", "npu", "tpu", "modem", "soc", "display")
_DEGREES_FROM_0_TO_1 = 30.0


def find(scope: Scope) -> Iterator[Source | Missing]:
    """temperature.hal.<name> in °C, thermal.status (0 none to 6 shutdown) and thermal.headroom (1 is the severe threshold)."""
    try:
        first = values(scope.tool(_COMMAND))
    except (OSError, ValueError) as error:
        yield from (Missing(name, "1", why(error)) for name in ("thermal.status", "thermal.headroom"))
        return
    units = {name: "°C" if name.startswith("temperature.") else "1" for name in first}
    yield Source(units, "dumpsys thermalservice", lambda: values(scope.tool(_COMMAND)), _INTERVAL_S)
    if "thermal.headroom" not in first:
        yield Missing("thermal.headroom", "1", "the thermal service reports no severe threshold for a skin sensor with a temperature")


def values(dump: str) -> dict[str, float]:
    """Status, temperatures and headroom of a dump. Raises ValueError if it is not a dump of the thermal service.

    Only the block "Current temperatures from HAL" is current; the cached temperatures may be hours old.
    """
    status = re.search(r"^Thermal Status: (\d+)\s*$", dump, re.MULTILINE)
    if not status:
        raise ValueError(f"dumpsys thermalservice reported no thermal status but {dump.strip()[:100]!r}")
    readings = {"thermal.status": float(status[1])}
    skins: dict[str, float] = {}
    for entry in re.finditer(r"Temperature\{mValue=([^,]+), mType=(-?\d+), mName=([^,}]+)", _block(dump, "Current temperatures from HAL:")):
        value, kind, name = _number(entry[1]), int(entry[2]), entry[3].strip()
        # 0.0, -99.9 and NaN mean that the hardware layer lists a sensor but cannot read it.
        if not math.isfinite(value) or value == 0 or value <= -40:
            continue
        readings[f"temperature.hal.{'-'.join(name.split())}"] = value
        if _is_skin(name, kind):
            skins[name] = value
    if (headroom := _headroom(skins, _severe_thresholds(dump))) is not None:
        readings["thermal.headroom"] = headroom
    return readings


def _headroom(skins: dict[str, float], severe: dict[str, float]) -> float | None:
    """Closeness to severe throttling: 1 at the threshold, 0 at 30 degrees or more below it; the largest of the skin sensors.

    Source: AOSP, frameworks/base, services/core/java/com/android/server/power/ThermalManagerService.java,
    TemperatureWatcher.normalizeTemperature and getForecast(0) with fewer than three samples, which does not extrapolate.
    """
    known = [max(0.0, 1 - (severe[name] - value) / _DEGREES_FROM_0_TO_1) for name, value in skins.items() if name in severe]
    return max(known, default=None)


def _severe_thresholds(dump: str) -> dict[str, float]:
    thresholds = {}
    block = _block(dump, "Temperature static thresholds from HAL:")
    for entry in re.finditer(r"TemperatureThreshold\{mType=-?\d+, mName=([^,}]+), mHotThrottlingThresholds=\[([^\]]*)\]", block):
        hot = [_number(field) for field in entry[2].split(",")]
        if len(hot) > _SEVERE and math.isfinite(hot[_SEVERE]):
            thresholds[entry[1].strip()] = hot[_SEVERE]
    return thresholds


def _is_skin(name: str, kind: int) -> bool:
    """The name decides before the type, since vendors number types in their own way: 3 can be a battery."""
    lower = name.lower()
    return "skin" in lower or (kind == _SKIN and not any(word in lower for word in _KINDS))


def _block(dump: str, title: str) -> str:
    """The entries below `title`, up to the next title, which is not indented."""
    block = re.search(rf"^{re.escape(title)}\s*\n((?:[ \t]+.*(?:\n|$))*)", dump, re.MULTILINE)
    return block[1] if block else ""


def _number(field: str) -> float:
    try:
        return float(field)
    except ValueError:
        return math.nan
