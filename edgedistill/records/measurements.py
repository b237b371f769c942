"""Measurements on devices: what all kinds have in common, and a benchmark of one file."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.devices import DeviceIdentity
from edgedistill.records.generation import Generation, Intervals
from edgedistill.records.results import Interval
from edgedistill.records.verdicts import Comparison, Latency, Load

Validity = Literal["valid", "noisy", "throttled", "invalid"]
"""Whether a measurement allows a conclusion about the device; from best to worst."""


class MeasuredFile(Record):
    """The file that was measured."""

    name: str
    file: str = Field(description="Its path on this machine.")
    format: str
    precision: str | None = Field(description="null where it is not known.")
    bytes: int
    sha256: str


class Setup(Record):
    """What was measured, where, and with what."""

    document: Literal["edgedistill/measurement/1"] = Field("edgedistill/measurement/1", alias="schema")
    kind: str
    created: str = Field(description="UTC time.")
    device: DeviceIdentity
    artifact: MeasuredFile = Field(description="Of a comparison the file B.")
    adapter: str | None = Field(description="Module that ran the file; null where no runtime for it is there.")
    build: str = Field(description="Build of the runtimes.")
    threads: int


class SensorFigures(Record):
    """The values of a sensor during a measurement."""

    unit: str
    source: str
    n: int = Field(description="Number of values.")
    first: float
    last: float
    min: float
    max: float


class SamplingCost(Record):
    """What reading the sensors cost."""

    sweeps: int
    wall_ns: int
    cpu_ns: int
    span_ns: int = Field(description="Time during which they were read.")


class ClockJump(Record):
    """A jump of the device's wall clock between two readings of its monotonic clock, in seconds."""

    after_s: float
    before_s: float
    jump_s: float


class Cluster(Record):
    """Cores that are equal."""

    cores: list[int]
    max_mhz: float | None


class Placement(Record):
    """The cores that the runner was bound to."""

    asked: str | list[int] | None = Field(description="big, little, or numbers; null where the scheduler chooses.")
    cores: list[int] | None
    clusters: list[Cluster] = Field(description="Of the device, the slowest first.")


class Preflight(Record):
    """The state of the device before the measurement."""

    type: Literal["preflight"] = "preflight"
    placement: Placement
    governors: dict[str, str] = Field(description="By the path of each cpufreq policy.")
    screen: str | None
    doze: str | None


class Cooldown(Record):
    """How the device cooled down to a temperature before the measurement."""

    left_out = ("from_c", "to_c", "below_c", "reason")

    type: Literal["cooldown"] = "cooldown"
    sensor: str | None
    from_c: float | None = None
    to_c: float | None = None
    below_c: float | None = Field(None, description="The temperature that was required.")
    waited_s: float
    reached: bool | None = Field(description="null where no sensor gives a temperature.")
    reason: str | None = Field(None, description="Why it is not known.")


class Setting(Record):
    """A setting of the device that was changed, or the reason why it was not."""

    type: Literal["setting"] = "setting"
    name: str
    path: str | None
    before: str | None
    after: str
    reason: str | None


class Restored(Record):
    """A setting that was restored, or the reason why it was not."""

    type: Literal["restored"] = "restored"
    name: str
    path: str
    value: str
    ok: bool
    reason: str | None


class Exceeded(Record):
    """A limit that a load exceeded, which ended it."""

    reason: str = Field(description="temperature or battery level.")
    sensor: str
    value: float
    limit: float


class AbortedCondition(Exceeded):
    """The record of a load that ended by a limit."""

    type: Literal["aborted"] = "aborted"
    t_ns: int = Field(description="On the device's monotonic clock.")


Condition = Annotated[Preflight | Cooldown | Setting | Restored | AbortedCondition, Field(discriminator="type")]


class Sensed(Record):
    """The sensors and conditions during a measurement. All of it is missing where the measurement failed."""

    clock_jumps: list[ClockJump] | None = None
    sensors: dict[str, SensorFigures | Unavailable] | None = Field(None, description="By the name of the sensor.")
    sampling_cost: SamplingCost | Unavailable | None = None
    conditions: list[Condition] | None = None


class Measured(Sensed, Setup):
    """What the documents of all measurements have in common."""

    left_out: ClassVar[tuple[str, ...]] = ("clock_jumps", "sensors", "sampling_cost", "conditions", "id")

    validity: Validity
    reasons: list[str] = Field(description="Why it is not valid.")
    id: int | None = Field(None, description="Its number in the project's store; missing where it was not stored.")


class BenchProtocol(Record):
    """The settings of a benchmark."""

    model_config = ConfigDict(frozen=True)

    preset: str
    warmup_s: float = Field(description="Longest warm-up.")
    relative_width: float = Field(description="Required half-width of the median's interval, as a share of the median.")
    cooldown_s: float = Field(description="Longest wait for a cool device.")
    idle_s: float = Field(description="Rest before the load, whose power is subtracted.")
    min_s: float = Field(description="Shortest time of sampling.")
    max_s: float = Field(description="Longest time of sampling, except that `min_samples` are always taken.")
    min_samples: int


class Program(Record):
    """A benchmark program of the user."""

    path: str
    kind: str
    sha256: str | None = Field(description="null for a program that was on the device.")


class Machine(Record):
    """What the runner found out about the machine that it ran on."""

    cpu: str
    cpu_flags: list[str] = Field(description="Instruction sets by which runtimes choose their kernels.")
    cores: int | None = Field(description="That the process may use.")
    platform: str
    python: str


class Energy(Record):
    """The energy of an inference: the power under load less that of the idle device."""

    mj_per_inference: float | Unavailable
    interval: Interval | Unavailable = Field(description="95% interval of the energy.")
    idle_w: float | Unavailable
    power_w: float
    source: str
    window_s: float = Field(description="From the first inference to the end of the last.")
    n: int = Field(description="Number of inferences.")


class Course(Record):
    """Values over time in equal periods. Periods without a value are left out."""

    unit: str
    t_s: list[float] = Field(description="Middle of each period, in seconds since the load began.")
    low: list[float]
    median: list[float]
    high: list[float]


class TokenRates(Record):
    """What a runner of language models printed."""

    prompt_tokens: int
    generated_tokens: int
    time_to_first_token_ms: float
    prompt_tokens_per_s: float | Unavailable
    decode_tokens_per_s: float | Unavailable


class EqualIntegers(Record):
    """Whether integers are those of this machine."""

    model_config = ConfigDict(extra="forbid")

    ok: bool
    equal: bool
    rule: str


class ComparedOutput(Comparison):
    """An output of the device held against that of this machine."""

    left_out = (*Comparison.left_out, "equal")

    equal: bool | None = Field(None, description="Whether all values are equal; missing for int8 files.")


class ComparedOutputs(Record):
    """Several outputs of the device held against those of this machine."""

    ok: bool
    by_output: dict[str, ComparedOutput | EqualIntegers]


Outputs = ComparedOutputs | ComparedOutput | EqualIntegers | Unavailable
"""How the outputs of the device compare with this machine's, or why they were not compared."""


class Spread(Record):
    """What the interval of a regression covers beyond the sessions themselves."""

    between_sessions: float | Unavailable = Field(description="Standard deviation of the logarithms of the medians.")


class Ratio(Record):
    """A ratio of two durations with its interval."""

    left_out = ("method",)

    value: float
    interval: Interval | Unavailable
    confidence: float
    method: str | None = None


class Regression(Record):
    """A measurement against a baseline of earlier sessions."""

    ratio: Ratio = Field(description="Its median divided by the baseline's.")
    verdict: Literal["regression", "improvement", "no regression"]
    text: str
    tolerance: float = Field(description="Relative change that counts as none.")
    sessions: int = Field(description="Number of sessions of the baseline.")
    spread: Spread
    warnings: list[str]


class Measurement(Measured):
    """One file, measured on a device. Of a measurement that failed, the figures are unavailable."""

    left_out = (
        *Measured.left_out, "program", "command", "facts", "peak_rss_source", "llm", "generation", "energy", "timeline", "outputs",
        "regression",
    )  # fmt: skip

    kind: Literal["bench"] = "bench"
    protocol: BenchProtocol
    program: Program | None = Field(None, description="Of the user; missing where a runtime of the kit or a Python ran the file.")
    command: list[str] | None = Field(None, description="How the user's program was started.")
    versions: dict[str, str] | Unavailable = Field(description="Of the runtime's packages.")
    facts: Machine | None = None
    load_ms: Load | Unavailable
    first_inference_ms: float | Unavailable
    latency_ms: Latency | Unavailable
    intervals_ms: Intervals | Unavailable
    steady: bool | Unavailable = Field(description="Whether the warm-up ended in a steady state.")
    peak_rss_mb: float | Unavailable
    peak_rss_source: str | None = None
    llm: TokenRates | None = None
    generation: Generation | Unavailable | None = Field(
        None, description="Of a file that keeps a state; missing in measurements of earlier versions and of programs of the user."
    )
    energy: Energy | Unavailable | None = None
    timeline: dict[str, Course] | None = Field(None, description="Latency and sensors over time; empty without an inference.")
    outputs: Outputs | None = None
    regression: Regression | Unavailable | None = Field(None, description="Against a baseline; missing where none was asked for.")
