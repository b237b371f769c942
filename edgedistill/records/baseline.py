"""What a teacher is and costs in the place where the student will run: the bar for the gate."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue

from edgedistill.files import canonical_hash
from edgedistill.records.base import Record, Unavailable
from edgedistill.records.metric import Metric
from edgedistill.records.results import Score
from edgedistill.records.verdicts import Latency

BASELINE_FILE = "baseline.json"
"""In the folder of a run."""
_PARTS = ("task", "seed", "data", "teacher")


def baseline_hash(effective: dict[str, Any]) -> str:
    """Changes with the parts of an effective recipe that the figures of a baseline depend on."""
    return canonical_hash({name: effective[name] for name in _PARTS})


class Load(Record):
    """What requests took while so many callers asked at the same time, each for one sample."""

    left_out = ("error",)

    callers: int
    requests: int
    errors: int = Field(description="Requests without an answer: each is tried once.")
    error: str | None = Field(None, description="Why the first of them had none.")
    latency_ms: Latency | Unavailable = Field(description="Of a request that was answered, from its start to its last word.")
    seconds: float = Field(description="From the first request to the end of the last one.")
    answers_per_s: float


class Tokens(Record):
    """Means over the requests that were answered."""

    input: float
    output: float


class TeacherCost(Record):
    """What the teacher takes for answers, by the prices of the file of assumptions."""

    left_out = ("tokens",)

    currency: str
    request: float
    session: float
    requests_per_session: float
    tokens: Tokens | None = Field(None, description="Of a request; left out where no price counts tokens.")
    source: str = Field(description="Where tokens and prices are from.")


class Verdicts(Record):
    """What is right about each answer of the first load."""

    rows: list[int] = Field(description="Numbers of the samples that were answered.")
    kept: dict[str, list[bool]] = Field(description="For each of them, by what is judged as in `answers`.")


class TeacherBaseline(Record):
    """A teacher as it was measured."""

    left_out = ("verdicts",)

    name: str
    model: str
    where: str = Field(description="Who answered: this machine, or the host of a service.")
    settings: dict[str, JsonValue] = Field(description="How it was asked.")
    score: Score | Unavailable = Field(description="The primary metric on all of val.")
    further: dict[str, float] = Field(description="Further scores, by name.")
    answers: dict[str, Score] = Field(
        description="Of tasks whose models write: the share of the requests of the first load that are right, by what is judged."
    )
    verdicts: Verdicts | None = Field(None, description="The same of each sample; left out where no answer is right or wrong.")
    format_errors: Score | Unavailable = Field(description="Share of all answers that are not of the format or schema of the recipe.")
    load: list[Load]
    cost: TeacherCost | Unavailable


class Baseline(Record):
    """What `baseline-teacher` prints; also `baseline.json` in the folder of the run."""

    document: Literal["edgedistill/baseline/1"] = Field("edgedistill/baseline/1", alias="schema")
    name: str
    run: str
    created: str = Field(description="UTC time.")
    task: str
    metric: Metric = Field(description="What scores are.")
    recipe_sha256: str = Field(description="Of the parts of the recipe that the figures depend on: task, seed, data, teacher.")
    data_sha256: str
    split: Literal["val"] = Field("val", description="The samples that were asked; the holdout is not read.")
    samples: int = Field(description="How many of them each load asked.")
    environment: dict[str, JsonValue]
    teachers: list[TeacherBaseline]
