"""What requests cost: those that the teacher answers, and those that the student answers on the device."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from edgedistill.records.base import Record, Unavailable
from edgedistill.records.measurements import TokenRates, Validity
from edgedistill.records.results import Interval

Figure = float | Unavailable
"""A number, or why it is not known."""


class Assumptions(Record):
    """The file of assumptions."""

    path: str
    sha256: str
    values: dict[str, JsonValue] = Field(description="Every field with its value; null for one that is not in the file.")


class RequestLatency(Record):
    """How long a request takes, in milliseconds."""

    left_out: ClassVar[tuple[str, ...]] = ("estimate",)

    p50: Figure
    p95: Figure
    estimate: Figure | None = Field(None, description="Computed from rates of tokens, where requests were not timed as a whole.")
    source: str | None = Field(description="Where the figures are from; null where there are none.")


class InferenceEnergy(Record):
    """The energy of an inference that was measured, above that of the idle device."""

    mj_per_inference: float = Field(gt=0)
    interval: Interval | Unavailable = Field(description="95% interval.")
    source: str


class MeasuredStudent(Record):
    """The file that answers on the device, as it was measured. One inference answers one request."""

    name: str
    bytes: int
    precision: str | None = Field(description="null where it is not known.")
    device: str
    validity: Validity | None = Field(description="null where the measurement does not judge it, as on this machine.")
    reasons: list[str] = Field(description="Why it is not valid.")
    latency_ms: RequestLatency
    energy: InferenceEnergy | Unavailable
    tokens: TokenRates | None = Field(description="What a runner of language models printed; null for other files.")


class Costs(Record):
    """An amount of money, for several units of use."""

    request: Figure
    session: Figure
    user_month: Figure = Field(description="Of an active user in a month.")
    month: Figure = Field(description="Of all active users in a month.")


class StudentCosts(Record):
    """What the student costs the operator. A request costs nothing by itself: a share of what users cost stands there."""

    download: Costs
    support: Costs
    distillation: Costs = Field(description="The one-time cost, spread over `months`.")
    months: float
    total: Costs


class DeviceEnergy(Record):
    """The energy that users pay, in joules, and its price."""

    joules: Costs
    price: Costs


class BreakEven(Record):
    """When the one-time cost of distillation is back."""

    saved_per_user_month: Figure = Field(description="The teacher's cost less download and support of the student.")
    requests: int | Unavailable
    user_months: int | Unavailable = Field(description="Months of active users: 10 users for 3 months are 30.")
    months: Figure = Field(description="With `usage.active_users`.")
    active_users: int | Unavailable = Field(description="How many bring it back within `distillation.months`.")


class CostDocument(Record):
    """What `cost` prints. Amounts are in `currency`."""

    document: Literal["edgedistill/cost/1"] = Field("edgedistill/cost/1", alias="schema")
    measurement: str = Field(description="The run or file that the student's figures are from.")
    assumptions: Assumptions
    currency: str
    student: MeasuredStudent
    teacher_latency_ms: RequestLatency
    teacher: Costs
    student_costs: StudentCosts
    energy: DeviceEnergy
    break_even: BreakEven
    notes: list[str] = Field(description="How the figures are to be read.")
