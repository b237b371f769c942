"""The presets: how long and how strictly to measure."""

from edgedistill.measure.runner.job_types import ConditionSettings, Cores, SensorOptions
from edgedistill.records.comparisons import CompareProtocol
from edgedistill.records.measurements import BenchProtocol

# MLPerf Mobile's single stream: at least 1024 queries and 60 s, judged by the 90th percentile (Janapa Reddi et al., arXiv 2012.02328).
_PRESETS = (
    BenchProtocol(
        preset="quick", warmup_s=1.0, relative_width=0.02, cooldown_s=0.0, idle_s=0.0, min_s=0.5, max_s=3.0, min_samples=50
    ),
    BenchProtocol(
        preset="standard", warmup_s=10.0, relative_width=0.01, cooldown_s=300.0, idle_s=5.0, min_s=2.0, max_s=60.0, min_samples=200
    ),
    BenchProtocol(
        preset="mlperf", warmup_s=10.0, relative_width=0.01, cooldown_s=300.0, idle_s=5.0, min_s=60.0, max_s=600.0, min_samples=1024
    ),
)  # fmt: skip
PRESETS = {protocol.preset: protocol for protocol in _PRESETS}
# Each round starts new processes, which takes seconds on a board. Fewer than eight rounds give a wide interval.
_COMPARE_PRESETS = (
    CompareProtocol(
        preset="quick", block_s=0.05, pairs=4, warmup_s=0.3, relative_width=0.02, max_s=60.0, min_rounds=6
    ),
    CompareProtocol(
        preset="standard", block_s=0.05, pairs=6, warmup_s=1.0, relative_width=0.005, max_s=300.0, min_rounds=10
    ),
)  # fmt: skip
COMPARE_PRESETS = {protocol.preset: protocol for protocol in _COMPARE_PRESETS}
SENSORS_EVERY_S = 0.5


def conditions(
    preset: str, *, cool_to: float | None, cores: Cores, governor: str | None, sensors: SensorOptions | None = None
) -> ConditionSettings:
    """The conditions of a job.

    cool_to: wait until the device is this cool, in °C; with None the kind of sensor decides, and a preset without cool-down does not wait.
    cores: big, little, or indices. sensors: options of `runner.sensors.discover`.
    """
    wait_s = PRESETS[preset].cooldown_s or (300.0 if cool_to is not None else 0.0)
    return {
        "sensors_interval_s": SENSORS_EVERY_S,
        "sensors": sensors,
        "cooldown": {"below_c": cool_to, "timeout_s": wait_s} if wait_s else None,
        "affinity": cores,
        "governor": governor,
        "idle_s": PRESETS[preset].idle_s,
    }
