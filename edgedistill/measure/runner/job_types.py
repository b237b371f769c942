"""The jobs that the runner reads, as types; docs/measuring.md describes them. A job is a JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

from edgedistill.measure.runner.generation_types import GenerationSettings

if TYPE_CHECKING:
    # Python 3.10, the oldest that runs the runner, lacks it.
    from typing import NotRequired

Cores = str | list[int] | None
"""big, little, or numbers; None: the scheduler chooses."""


class Spec(TypedDict):
    """An input or output; a name in the shape stands for a size that varies."""

    name: str
    dtype: str
    shape: list[int | str]


class Signature(TypedDict):
    """What a file takes and gives, in order."""

    inputs: list[Spec]
    outputs: list[Spec]


class InaChip(TypedDict):
    """A power monitor on the I2C bus, by default named like its chip; see `sensors.ina`. An ina260 has its shunt inside."""

    chip: str
    bus: int
    address: int
    shunt_ohm: NotRequired[float]
    name: NotRequired[str]


class SensorOptions(TypedDict, total=False):
    """Options of the sensors."""

    ina: list[InaChip]


class CooldownSettings(TypedDict):
    """Wait until the device is below a temperature in °C (None: by the kind of sensor), at most `timeout_s`."""

    below_c: float | None
    timeout_s: float


class ConditionSettings(TypedDict):
    """The conditions of a task; see `conditions.conditions`."""

    sensors_interval_s: float | None
    sensors: SensorOptions | None
    cooldown: CooldownSettings | None
    affinity: Cores
    governor: str | None
    idle_s: float


class BenchSettings(TypedDict):
    """How long to warm up and to sample; see `sampling.bench`."""

    warmup_s: float
    relative_width: float
    min_s: NotRequired[float]
    max_s: float
    min_samples: int


class CompareSettings(TypedDict):
    """How long to compare, and how precisely; see `interleaved.run`."""

    block_s: float
    pairs: int
    warmup_s: float
    relative_width: float
    max_s: float
    min_rounds: int
    seed: int


class StressSettings(TypedDict):
    """A load; see `stress_load.run`."""

    seconds: float
    mode: str
    rate_hz: float | None
    burst_s: float | None
    pause_s: float | None
    instances: int
    limit_c: float | None
    min_battery: float | None


class Sent(TypedDict):
    """A file that the job brings."""

    artifact: str


class ProgramSettings(TypedDict):
    """A benchmark program of the user; see `program.run`."""

    binary: Sent
    arguments: list[str]
    libraries: dict[str, Sent]


class JobSide(TypedDict):
    """A file and what runs it: the adapter's module, and the path of the samples of each input."""

    adapter: str
    artifact: str
    signature: Signature
    inputs: dict[str, str]


class SideJob(JobSide):
    """What the process of one side of a comparison gets."""

    threads: int


class Job(TypedDict):
    """What all jobs have."""

    schema: int
    nonce: str
    conditions: ConditionSettings | None


class RunJob(Job, JobSide):
    """Run the inputs, and measure. generation: what to measure in the same way of a file with a state; see `generation.bench`."""

    task: Literal["run"]
    threads: int
    outputs: dict[str, str] | None
    bench: BenchSettings | None
    generation: NotRequired[GenerationSettings | None]


class CompareJob(Job):
    """Compare two files."""

    task: Literal["compare"]
    threads: int
    a: JobSide
    b: JobSide
    compare: CompareSettings


class StressJob(Job, JobSide):
    """Load the device."""

    task: Literal["stress"]
    threads: int
    stress: StressSettings


class ProgramJob(Job):
    """Run a program of the user."""

    task: Literal["program"]
    adapter: str
    artifact: str
    program: ProgramSettings


AnyJob = RunJob | CompareJob | StressJob | ProgramJob
"""A job; `task` says which one."""
