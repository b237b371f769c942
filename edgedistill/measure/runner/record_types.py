"""The records that the runner writes, as types; docs/measuring.md and docs/stress.md describe them. A record is a JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

from edgedistill.measure.runner.generation_types import Generated, GenerationMemory, GenerationWarmup
from edgedistill.measure.runner.job_types import Cores

if TYPE_CHECKING:
    # Python 3.10, the oldest that runs the runner, lacks it.
    from typing import NotRequired


class MachineFacts(TypedDict):
    """The machine that the runner runs on."""

    cpu: str
    cpu_flags: list[str]
    cores: int | None
    platform: str
    python: str


class Start(TypedDict):
    """The begin of a run."""

    type: Literal["start"]
    nonce: str
    versions: dict[str, str]
    facts: MachineFacts


class Clock(TypedDict):
    """Both clocks at one time; a second reading shows their drift and jumps."""

    type: Literal["clock"]
    monotonic_ns: int
    time_ns: int
    boottime_ns: NotRequired[int]


class AvailableSensor(TypedDict):
    """A sensor that can be read."""

    name: str
    unit: str
    source: str


class MissingSensor(TypedDict):
    """A sensor that cannot be read, and why."""

    name: str
    unit: str
    reason: str


class Sensors(TypedDict):
    """The sensors, when sampling begins."""

    type: Literal["sensors"]
    interval_s: float
    available: list[AvailableSensor]
    unavailable: list[MissingSensor]


class Sweep(TypedDict):
    """The values of the sensors at one time, by name."""

    type: Literal["sensor"]
    t_ns: int
    values: dict[str, float]


class SamplingCost(TypedDict):
    """What reading the sensors cost."""

    type: Literal["sampling_cost"]
    sweeps: int
    wall_ns: int
    cpu_ns: int
    span_ns: int


class Cluster(TypedDict):
    """Cores that are equal."""

    cores: list[int]
    max_mhz: float | None


class Placement(TypedDict):
    """The cores that were asked for, and those that the runner is bound to."""

    asked: Cores
    cores: list[int] | None
    clusters: list[Cluster]


class AndroidState(TypedDict):
    """The state of the screen and of Doze; None where it is not known."""

    screen: str | None
    doze: str | None


class Preflight(AndroidState):
    """The state of the device before the task."""

    type: Literal["preflight"]
    placement: Placement
    governors: dict[str, str]


class Cooldown(TypedDict):
    """How the device cooled down."""

    type: Literal["cooldown"]
    sensor: str | None
    from_c: NotRequired[float]
    to_c: NotRequired[float]
    below_c: NotRequired[float]
    waited_s: float
    reached: bool | None
    reason: NotRequired[str]


class Setting(TypedDict):
    """A setting that was changed, or why it was not."""

    type: Literal["setting"]
    name: str
    path: str | None
    before: str | None
    after: str
    reason: str | None


class Restored(TypedDict):
    """A setting that was restored, or why it was not."""

    type: Literal["restored"]
    name: str
    path: str
    value: str
    ok: bool
    reason: str | None


class Phase(TypedDict):
    """The begin of a phase."""

    type: Literal["phase"]
    name: Literal["cooldown", "idle", "work", "end"]
    t_ns: int


class OfSide(TypedDict):
    """The side and round that a record of a comparison is about."""

    side: NotRequired[Literal["a", "b"]]
    round: NotRequired[int]


class LoadFigures(TypedDict):
    """A load in the process of a side, and the first inference after it."""

    ns: int
    rss_bytes_before: int | None
    rss_bytes_after: int | None
    first_inference_ns: int


class Loaded(OfSide):
    """A load of the file."""

    type: Literal["load"]
    kind: Literal["first", "warm"]
    ns: int
    rss_bytes_before: int | None
    rss_bytes_after: int | None


class FirstInference(OfSide):
    """The first inference after the first load."""

    type: Literal["first_inference"]
    ns: int


class Memory(TypedDict):
    """The memory of the first load and inference in bytes, and how it was read."""

    type: Literal["memory"]
    rss_runtime_loaded: int | None
    peak_rss: int | None
    source: str


class Output(TypedDict):
    """A file of outputs [N, ...]."""

    type: Literal["output"]
    name: str
    path: str
    sha256: str
    shape: list[int]
    dtype: str


class WarmupFigures(TypedDict):
    """How a warm-up went."""

    iterations: int
    windows: int
    steady: bool
    ns: int


class Warmup(WarmupFigures, OfSide):
    """The end of a warm-up."""

    type: Literal["warmup"]


class Iterations(TypedDict):
    """A batch of inferences: the begin of the first one, and the duration of each."""

    type: Literal["iterations"]
    t0_ns: int
    durations_ns: list[int]


class TimedBlock(TypedDict):
    """Inferences in a row: the begin of the first one, and the duration of each."""

    t0_ns: int
    durations_ns: list[int]


class Block(TimedBlock):
    """A block of one side."""

    type: Literal["block"]
    side: Literal["a", "b"]
    round: int


class Compared(TypedDict):
    """The end of a comparison."""

    type: Literal["compared"]
    rounds: int
    stopped: Literal["narrow", "time"]
    seed: int


class Program(TypedDict):
    """The output of a program of the user."""

    type: Literal["program"]
    command: list[str]
    text: str
    ns: int
    peak_rss: int | None


class Ready(TypedDict):
    """An instance of a load that loaded the file and ran it once."""

    load_ns: int
    first_inference_ns: int
    rss_bytes: int | None
    pid: int


class InstanceReady(Ready):
    """An instance is ready."""

    type: Literal["instance_ready"]
    index: int


class StressStart(TypedDict):
    """All instances that are ready begin."""

    type: Literal["stress_start"]
    t0_ns: int
    instances: list[int]
    seconds: float
    mode: Literal["continuous", "rate", "bursts"]
    rate_hz: float | None
    burst_s: float | None
    pause_s: float | None


class Batch(TypedDict):
    """Inferences in a row. The i-th began at t0_ns + sum(durations_ns[:i]) + sum(waited_ns[:i + 1])."""

    t0_ns: int
    durations_ns: list[int]
    waited_ns: list[int] | None
    late_ns: list[int] | None
    rss_bytes: int | None
    checked: int
    changed: int


class InstanceBatch(Batch):
    """A batch of an instance."""

    type: Literal["instance"]
    index: int


class InstanceDied(TypedDict):
    """An instance crashed or was killed."""

    type: Literal["instance_died"]
    index: int
    t_ns: int
    signal: str | None
    exit: int | None
    last_line: str


class Exceeded(TypedDict):
    """A limit of a load that was exceeded."""

    reason: Literal["temperature", "battery level"]
    sensor: str
    value: float
    limit: float


class Aborted(Exceeded):
    """The load ends, since it exceeded a limit."""

    type: Literal["aborted"]
    t_ns: int


class StressEnd(TypedDict):
    """The end of a load."""

    type: Literal["stress_end"]
    ended: Literal["time", "aborted", "died"]
    t_ns: int
    cpu_ns: int
    unguarded: list[str]


class Error(TypedDict):
    """The run failed, which ends it; `refused` where the adapter has no rule for something in the file, see `refusal`."""

    type: Literal["error"]
    message: str
    refused: bool
    traceback: str


class End(TypedDict):
    """The last record: the number of records before it, and the hash of their bytes."""

    type: Literal["end"]
    nonce: str
    records: int
    sha256: str


Record = (
    Start | Clock | Sensors | Sweep | SamplingCost | Preflight | Cooldown | Setting | Restored | Phase | Loaded | FirstInference | Memory
    | Output | Warmup | Iterations | GenerationMemory | GenerationWarmup | Generated | Block | Compared | Program | InstanceReady
    | StressStart | InstanceBatch | InstanceDied | Aborted | StressEnd | Error | End
)  # fmt: skip
"""A line of the runner's output; `type` says which one."""
