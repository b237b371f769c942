"""The file of assumptions: prices, use, and what distillation costs. docs/cost.md lists its fields."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator, model_validator

from edgedistill.recipe.base import Config, RecipeError, at_home, mistake, why_not
from edgedistill.recipe.mistakes import find_mistakes
from edgedistill.recipe.reading import dotted, line_of, read_text, read_yaml


class Price(Config):
    """What the teacher takes for a request: the sum of the prices that are given."""

    per_request: float | None = Field(None, ge=0, description="Of each request, whatever its length.")
    per_million_input_tokens: float | None = Field(None, ge=0, description="Of input that is not cached.")
    per_million_cached_input_tokens: float | None = Field(None, ge=0, description="Of input that the service read before.")
    per_million_output_tokens: float | None = Field(None, ge=0, description="Of what it writes.")

    @model_validator(mode="after")
    def _whole(self) -> "Price":
        given = [name for name, value in self.model_dump().items() if value is not None]
        if not given:
            raise mistake("per_request, or per_million_input_tokens and per_million_output_tokens", "found no price")
        missing = [name for name in ("per_million_input_tokens", "per_million_output_tokens") if name not in given]
        if self.counts_tokens and missing:
            raise mistake(f"also {' and '.join(missing)} (0 for tokens that cost nothing)", f"found {', '.join(given)}")
        return self

    @property
    def counts_tokens(self) -> bool:
        """Whether the number of tokens counts."""
        return any(value is not None for name, value in self.model_dump().items() if name != "per_request")


class Latency(Config):
    """How long the teacher takes for a request, as you measured it."""

    p50: float = Field(gt=0, description="Median, in milliseconds.")
    p95: float | None = Field(None, gt=0, description="95th percentile, in milliseconds.")


class Teacher(Config):
    """The teacher that answers requests without a student."""

    price: Price
    latency_ms: Latency | None = Field(None, description="Without it that of the run's own teacher, if it was measured.")


class Tokens(Config):
    """The tokens of a request."""

    input: float = Field(ge=0, description="Mean number that is not cached.")
    cached_input: float = Field(0, ge=0, description="Mean number that is cached.")
    output: float = Field(ge=0, description="Mean number that is written.")


class Usage(Config):
    """How the product is used."""

    requests_per_session: float = Field(gt=0)
    sessions_per_user_month: float = Field(gt=0, description="Sessions of an active user in a month.")
    active_users: int | None = Field(None, ge=1, description="Users who are active in a month.")
    tokens_per_request: Tokens | None = Field(None, description="Needed where the teacher's price counts tokens.")

    @property
    def requests_per_user_month(self) -> float:
        """Requests of an active user in a month."""
        return self.requests_per_session * self.sessions_per_user_month


class Download(Config):
    """What the transfer of the model to devices costs."""

    price_per_gb: float = Field(ge=0, description="A GB is 10^9 bytes.")
    per_user_month: float = Field(ge=0, description="Downloads of the whole file for each active user in a month: new users and updates.")


class Student(Config):
    """What the student costs beside distillation."""

    download: Download | None = None
    support_per_user_month: float | None = Field(None, ge=0, description="Support and operation that the student causes.")
    electricity_price_per_kwh: float | None = Field(None, ge=0, description="What users pay.")


class Distillation(Config):
    """What it cost to make the student: labour, computers, the teacher's answers."""

    one_time: float = Field(ge=0)
    months: float = Field(gt=0, description="Months over which it is spread.")


class CostAssumptions(Config):
    """All assumptions of `edgedistill cost`."""

    currency: str = Field(pattern="^[A-Z]{3}$", description="Of all amounts, by ISO 4217.")
    # Before `usage`, whose check looks at it.
    teacher: Teacher
    usage: Usage
    student: Student = Student()
    distillation: Distillation

    @field_validator("usage")
    @classmethod
    def _tokens(cls, usage: Usage, info: ValidationInfo) -> Usage:
        teacher = info.data.get("teacher")
        if teacher is None or not teacher.price.counts_tokens:
            return usage
        tokens = usage.tokens_per_request
        if tokens is None:
            raise mistake("tokens_per_request, since teacher.price counts tokens", "found none")
        if tokens.cached_input and teacher.price.per_million_cached_input_tokens is None:
            raise mistake("teacher.price.per_million_cached_input_tokens for them", f"found {tokens.cached_input:g} cached tokens")
        return usage


def load_assumptions(path: Path) -> CostAssumptions:
    """Read a file of assumptions. Raises RecipeError with all mistakes, each with its file and line."""
    where, path = str(path), at_home(path)
    if found := why_not(path, "file"):
        raise RecipeError(where, [f"found {found}, expected a YAML file of assumptions; docs/cost.md shows one"])
    value, lines = read_yaml(read_text(path, where), where)
    assumptions, mistakes = find_mistakes(CostAssumptions, value)
    if assumptions is None:
        placed = sorted((line_of(lines, at), dotted(at) or "assumptions", said) for at, said in mistakes)
        raise RecipeError(where, [f"{where}:{line}: {field}: {said}" for line, field, said in placed])
    return assumptions
