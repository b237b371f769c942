"""The presets: how long and how strictly to measure."""

from typing import Any

_CAREFUL = {"warmup_s": 10.0, "relative_width": 0.01, "cooldown_s": 300.0, "idle_s": 5.0}
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"warmup_s": 1.0, "relative_width": 0.02, "cooldown_s": 0.0, "idle_s": 0.0, "min_s": 0.5, "max_s": 3.0, "min_samples": 50},
    "standard": _CAREFUL | {"min_s": 2.0, "max_s": 60.0, "min_samples": 200},
    # MLPerf Mobile's single stream: at least 1024 queries and 60 s, judged by the 90th percentile (Janapa Reddi et al., arXiv 2012.02328).
    "mlperf": _CAREFUL | {"min_s": 60.0, "max_s": 600.0, "min_samples": 1024},
}
"""Limits of warm-up and sampling, the required half-width of the median's interval as a share, seconds to wait for a cool device, and
seconds of rest before the load, whose power is subtracted."""
SENSORS_EVERY_S = 0.5


def conditions(
    preset: str, *, cool_to: float | None, cores: str | list[int] | None, governor: str | None, sensors: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The conditions of a job.

    cool_to: wait until the device is this cool, in °C; with None the kind of sensor decides, and a preset without cool-down does not wait.
    cores: big, little, or indices. sensors: options of `runner.sensors.discover`.
    """
    wait_s = PRESETS[preset]["cooldown_s"] or (300.0 if cool_to is not None else 0.0)
    return {
        "sensors_interval_s": SENSORS_EVERY_S,
        "sensors": sensors,
        "cooldown": {"below_c": cool_to, "timeout_s": wait_s} if wait_s else None,
        "affinity": cores,
        "governor": governor,
        "idle_s": PRESETS[preset]["idle_s"],
    }
