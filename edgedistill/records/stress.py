"""A device under a load that lasts. All times are in seconds since the load began."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.measurements import Course, Exceeded, Measured
from edgedistill.records.results import Interval
from edgedistill.records.verdicts import Latency

Mode = Literal["continuous", "rate", "bursts"]


class StressLoad(Record):
    """The load of a stress test, as `measure.runner.stress_load` takes it."""

    model_config = ConfigDict(frozen=True)

    seconds: float
    mode: str = "continuous"
    rate_hz: float | None = None
    burst_s: float | None = None
    pause_s: float | None = None
    instances: int = 1
    limit_c: float | None = Field(None, description="Temperature above which the load ends.")
    min_battery: float | None = Field(None, description="Percent of charge below which the load ends.")


class StressProtocol(StressLoad):
    """The settings of a stress test."""

    preset: str


class Estimate(Record):
    """A figure and its 95% interval."""

    value: float
    interval: Interval


class PartRate(Estimate):
    """The throughput of a part of the run."""

    from_s: float
    to_s: float


class Throughput(Record):
    """Inferences per second of all instances."""

    initial: PartRate
    sustained: PartRate
    ratio: Estimate = Field(description="Sustained throughput divided by the initial one.")
    unit: str
    of: str = Field(description="The time that counts: by the clock, or spent in inferences.")


class Cause(Record):
    """A sensor that changed together with a drop in speed."""

    cause: str
    sensor: str
    before: float
    after: float


class Throttling(Record):
    """When inferences became slower, by how much, and why. Missing fields belong to an onset."""

    left_out = ("before_ms", "after_ms", "rise", "slow_share", "causes")

    time_s: float | Unavailable | None = Field(description="The onset; null where there was none.")
    before_ms: float | None = None
    after_ms: float | None = None
    rise: float | None = Field(None, description="Relative rise of the time of an inference.")
    slow_share: float | None = Field(None, description="Share of the time since the onset that was slow; below 1 if the device recovered.")
    causes: list[Cause] | None = None
    text: str


class MinuteLatency(Latency):
    """The latency in one minute of the run."""

    minute: int


class Lateness(Record):
    """How late inferences began, in milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float


class Rate(Record):
    """The rate of an instance."""

    asked_hz: float
    achieved_hz: float
    late_ms: Lateness


class Temperature(Record):
    """The course of one sensor, in °C."""

    start_c: float
    end_c: float
    peak_c: float
    peak_at_s: float


class Headroom(Record):
    """The distance to severe throttling by Android's thermal service, as a share."""

    min_left: float
    end_left: float
    source: str


class Hours(Record):
    """Hours that a battery lasts, with the interval; its end is null where the draw may be 0."""

    value: float
    interval: tuple[float, float | None]


class BatteryHours(Record):
    """How long the battery lasts under the load."""

    current_ma: float
    interval_ma: Interval
    source: str
    now: Hours = Field(description="From the present charge.")
    full: Hours | Unavailable = Field(description="From a full battery.")


class MemoryGrowth(Record):
    """Growth of the resident memory of a process, in MB (10^6 bytes)."""

    verdict: Literal["leak", "no leak"]
    mb_per_hour: float
    interval: Interval = Field(description="95% interval of the growth.")
    first_half_mb_per_hour: float
    second_half_mb_per_hour: float
    detectable_mb_per_hour: float = Field(description="Smallest growth that would count as a leak.")
    start_mb: float
    end_mb: float


class InstanceMemory(MemoryGrowth):
    """The memory of one instance."""

    instance: int


class UnknownMemory(Unavailable):
    """An instance whose memory is not known, and the reason."""

    instance: int


class RepeatedOutputs(Record):
    """How often the output of the first input was compared with the first one, and how often it differed."""

    checked: int
    changed: int


class Gap(Record):
    """A period in which an instance ran nothing although it should have."""

    instance: int
    from_s: float
    seconds: float


class InstanceReady(Record):
    """An instance that loaded the model and ran it once."""

    event: Literal["instance_ready"] = "instance_ready"
    index: int
    pid: int
    load_ns: int
    first_inference_ns: int
    rss_bytes: int | None


class InstanceDied(Record):
    """An instance that crashed or was killed."""

    event: Literal["instance_died"] = "instance_died"
    index: int
    signal: str | None
    exit: int | None
    last_line: str
    t_s: float


class Aborted(Exceeded):
    """A limit that was exceeded, which ended the load."""

    event: Literal["aborted"] = "aborted"
    t_s: float


Event = Annotated[InstanceReady | InstanceDied | Aborted, Field(discriminator="event")]


class StressFigures(Record):
    """The figures of a stress test."""

    mode: Mode
    instances: list[int] = Field(description="The instances that were ready.")
    asked_s: float
    ran_s: float
    ended: Literal["time", "aborted", "died"]
    warmup_s: float = Field(description="Beginning of the run that throughput and throttling leave out.")
    throughput: Throughput | Unavailable
    throttling: Throttling
    latency_ms: Latency
    by_minute: list[MinuteLatency]
    rate: Rate | None = Field(description="null where none was requested.")
    temperature: dict[str, Temperature] | Unavailable = Field(description="By the name of the sensor.")
    headroom: Headroom | Unavailable
    battery_hours: BatteryHours | Unavailable
    memory: list[InstanceMemory | UnknownMemory]
    outputs: RepeatedOutputs
    gaps: list[Gap]
    events: list[Event]
    unguarded: list[str] = Field(description="Limits that no sensor of the device reports.")
    harness_cpu_share: float | Unavailable = Field(description="Processor time of the recording process, as a share of one core.")
    timeline: dict[str, Course]


class StressTest(Measured):
    """A file under a load that lasts."""

    kind: Literal["stress"] = "stress"
    protocol: StressProtocol
    stress: StressFigures | Unavailable


class StressDocument(StressTest):
    """What `stress` prints."""

    left_out: ClassVar[tuple[str, ...]] = (*StressTest.left_out, "report")

    report: str | None = Field(None, description="Path of the report, where one was asked for.")
