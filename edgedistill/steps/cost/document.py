"""Turns what was measured, and assumptions, into what requests cost: with the teacher and with the student."""

from __future__ import annotations

from math import ceil
from pathlib import Path

from edgedistill.files import sha256_file
from edgedistill.recipe.base import at_home
from edgedistill.records import Unavailable
from edgedistill.records.cost import (
    Assumptions,
    BreakEven,
    CostDocument,
    Costs,
    DeviceEnergy,
    Figure,
    MeasuredStudent,
    RequestLatency,
    StudentCosts,
)
from edgedistill.records.measurements import TokenRates
from edgedistill.steps.cost import generated, measured
from edgedistill.steps.cost.arithmetic import NO_USERS, combined, of_requests, of_users
from edgedistill.steps.cost.assumptions import CostAssumptions, Latency, Tokens, load_assumptions

_BYTES_PER_GB = 1e9
_JOULES_PER_KWH = 3.6e6
_NOTES = [
    "A request that the device answers costs the operator nothing: the student costs its download, its support, and the distillation.",
    "One inference answers one request, and the student answers all requests.",
    "Users pay the electricity of their devices; it is in no total.",
]
_CALLS = "A request is a call with its prompt and one for each further token, and the student answers all requests."


def cost(run_or_file: str | Path, assumptions: str | Path, *, artifact: str | None = None, device: str | None = None) -> CostDocument:
    """What a request, a session, and an active user in a month cost, with the teacher and with the student.

    run_or_file: the folder of a run, or a file of what `edgedistill bench --json` printed. assumptions: a YAML file, see docs/cost.md.
    artifact: name of the file that answers requests, by default an int8 one. device: of which device's measurement, by default the newest.

    Raises RecipeError with all mistakes in the assumptions, and UserError where nothing fitting was measured.
    """
    assumed = load_assumptions(Path(assumptions))
    found = measured.read(Path(run_or_file))
    student = measured.choose(found, artifact, device)
    usage, tokens = assumed.usage, assumed.usage.tokens_per_request
    if (generation := student.generation) is not None:
        latency = generated.latency(generation, tokens, f"{student.name} on {student.device}")
        student = student.model_copy(update={"latency_ms": latency, "energy": generated.energy(generation, tokens)})
    elif student.tokens is not None:
        student = student.model_copy(update={"latency_ms": _estimated(student, student.tokens, tokens)})
    teacher = of_requests(teacher_request(assumed, tokens), usage)
    costs = _student_costs(assumed, student.bytes)
    return CostDocument(
        measurement=str(run_or_file),
        assumptions=Assumptions(
            path=str(assumptions), sha256=sha256_file(at_home(Path(assumptions))), values=assumed.model_dump(mode="json")
        ),
        currency=assumed.currency,
        student=student,
        teacher_latency_ms=_teacher_latency(assumed.teacher.latency_ms, found.teacher, str(assumptions)),
        teacher=teacher,
        student_costs=costs,
        energy=_energy(assumed, student),
        break_even=_break_even(assumed, teacher, costs),
        notes=[_NOTES[0], _CALLS if student.generation is not None else _NOTES[1], *_NOTES[2:]],
    )


def teacher_request(assumed: CostAssumptions, tokens: Tokens | None) -> float:
    """What the teacher takes for a request with `tokens`, in the currency of the assumptions."""
    price = assumed.teacher.price
    request = price.per_request or 0.0
    if not price.counts_tokens or tokens is None:
        return request
    counted = [
        (tokens.input, price.per_million_input_tokens),
        (tokens.cached_input, price.per_million_cached_input_tokens),
        (tokens.output, price.per_million_output_tokens),
    ]
    # A price that is absent is one of tokens that are absent too: CostAssumptions checks it.
    return request + sum(count * (per_million or 0.0) / 1e6 for count, per_million in counted)


def _student_costs(assumed: CostAssumptions, size: int) -> StudentCosts:
    """What a file of `size` bytes costs the operator."""
    student, usage, distillation = assumed.student, assumed.usage, assumed.distillation
    download: Figure = _not_given("student.download")
    if student.download is not None:
        download = size / _BYTES_PER_GB * student.download.price_per_gb * student.download.per_user_month
    support: Figure = _not_given("student.support_per_user_month")
    if student.support_per_user_month is not None:
        support = student.support_per_user_month
    monthly = distillation.one_time / distillation.months
    spread = of_users(NO_USERS if usage.active_users is None else monthly / usage.active_users, usage)
    parts = [of_users(download, usage), of_users(support, usage), spread.model_copy(update={"month": monthly})]
    total = Costs(**{unit: combined(_sum, *(getattr(part, unit) for part in parts)) for unit in Costs.model_fields})
    return StudentCosts(download=parts[0], support=parts[1], distillation=parts[2], months=distillation.months, total=total)


def _sum(*values: float) -> float:
    return sum(values)


def _not_given(field: str) -> Unavailable:
    return Unavailable(unavailable=f"{field} is not given (write 0 where there is no such cost)")


def _energy(assumed: CostAssumptions, student: MeasuredStudent) -> DeviceEnergy:
    energy, price = student.energy, assumed.student.electricity_price_per_kwh
    joules = of_requests(energy if isinstance(energy, Unavailable) else energy.mj_per_inference / 1000, assumed.usage)
    rate: Figure = Unavailable(unavailable="student.electricity_price_per_kwh is not given") if price is None else price
    paid = {
        unit: combined(lambda value, per_kwh: value / _JOULES_PER_KWH * per_kwh, getattr(joules, unit), rate) for unit in Costs.model_fields
    }
    return DeviceEnergy(joules=joules, price=Costs(**paid))


def _break_even(assumed: CostAssumptions, teacher: Costs, student: StudentCosts) -> BreakEven:
    usage, one_time, period = assumed.usage, assumed.distillation.one_time, assumed.distillation.months
    saved = combined(
        lambda price, download, support: price - download - support,
        teacher.user_month, student.download.user_month, student.support.user_month,
    )  # fmt: skip
    if not isinstance(saved, Unavailable) and saved <= 0:
        never = Unavailable(unavailable="never: download and support of the student cost as much as the teacher, or more")
        return BreakEven(saved_per_user_month=saved, requests=never, user_months=never, months=never, active_users=never)
    user_months = combined(lambda value: one_time / value, saved)
    users = NO_USERS if usage.active_users is None else float(usage.active_users)
    return BreakEven(
        saved_per_user_month=saved,
        requests=_whole(combined(lambda value: value * usage.requests_per_user_month, user_months)),
        user_months=_whole(user_months),
        months=combined(lambda value, count: value / count, user_months, users),
        active_users=_whole(combined(lambda value: value / period, user_months)),
    )


def _whole(figure: Figure) -> int | Unavailable:
    # Rounded first, so that 30.000000000000004 does not become 31.
    return figure if isinstance(figure, Unavailable) else ceil(round(figure, 6))


def _teacher_latency(given: Latency | None, measured_here: RequestLatency | None, path: str) -> RequestLatency:
    if given is not None:
        p95: Figure = Unavailable(unavailable="teacher.latency_ms.p95 is not given") if given.p95 is None else given.p95
        return RequestLatency(p50=given.p50, p95=p95, source=f"given in {path}")
    if measured_here is not None:
        return measured_here
    unknown = Unavailable(unavailable="teacher.latency_ms is not given, and no teacher was measured")
    return RequestLatency(p50=unknown, p95=unknown, source=None)


def _estimated(student: MeasuredStudent, rates: TokenRates, tokens: Tokens | None) -> RequestLatency:
    """The latency of a request by the rates of a runner of language models, which reads all input and keeps none of it."""
    if tokens is None:
        estimate: Figure = Unavailable(unavailable="usage.tokens_per_request is not given, and the measurement has rates of tokens")
    else:
        read, written = tokens.input + tokens.cached_input, max(tokens.output - 1, 0.0)
        # The first token that is written comes with the end of the input.
        estimate = combined(
            lambda reading, writing: 1000 * (read / reading + written / writing), rates.prompt_tokens_per_s, rates.decode_tokens_per_s
        )
    return student.latency_ms.model_copy(update={"estimate": estimate, "source": f"rates of tokens of {student.name} on {student.device}"})
