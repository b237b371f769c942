"""The gate part of a recipe: the rules by which `edgedistill gate` decides whether files may ship."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edgedistill.recipe.base import Config, mistake

_Difference = Annotated[float, Field(gt=-1, lt=1)]
_Share = Annotated[float, Field(gt=0, lt=1)]
_Amount = Annotated[float, Field(gt=0)]
_Files = Literal["all", "first"]


class Rule(Config):
    """What every rule has."""

    may_be_unavailable: bool = Field(False, description="Whether a figure that is unavailable does not fail the rule.")


def _set(rule: Rule, *names: str) -> dict[str, float]:
    """The fields of these names that are not null."""
    return {name: limit for name in names if (limit := getattr(rule, name)) is not None}


class Drop(Rule):
    """How much of the score a file may lose."""

    max: _Difference = Field(description="The upper bound of the drop has to be at most this; 0.02 are two points.")


Where = dict[str, str]
_WHERE = "Judge only samples with these values of fields, such as {set: gold}; all where it is empty."


class Slice(Rule):
    """How much of the score a file may lose on each part of the holdout."""

    by: str = Field(min_length=1, description="What divides the samples: a field of the data, or what the task offers.")
    where: Where = Field({}, max_length=16, description=_WHERE)
    max: _Difference = Field(description="The upper bound of the drop has to be at most this on every slice that is judged.")
    min_samples: int = Field(30, ge=1, description="Slices with fewer samples are listed, and not judged.")


class Calibration(Rule):
    """How far the confidence of a file may be from how often it is right."""

    max: _Share = Field(description="Largest expected calibration error.")


class Tried(Rule):
    """What whole answers have to keep, where a task tries models on whole samples."""

    of: str = Field(min_length=1, description="What is counted, such as `valid`, `policy`, `exact`, or the name of a scorer.")
    where: Where = Field({}, max_length=16, description=_WHERE)
    min: _Share | None = Field(None, description="The lower bound of the share has to be at least this.")
    max_drop: _Difference | None = Field(None, description="The upper bound of the drop of the share has to be at most this.")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.min is None) == (self.max_drop is None):
            raise mistake("either min or max_drop", "found neither" if self.min is None else "found both")
        return self


class Size(Rule):
    """How large a file may be."""

    max_mb: _Amount = Field(description="Megabytes, 10^6 bytes.")
    files: _Files = Field("first", description="first judges the file of each target that is to be shipped first; all every gated file.")


class OnDevice(Rule):
    """What a file may take on a device, by what `edgedistill bench --device` measured there."""

    device: str = Field(min_length=1, description="The device, as adb:SERIAL, or its model, as Pixel 8.")
    p95_ms: _Amount | None = Field(None, description="Milliseconds of an inference, 95% quantile.")
    first_token_p95_ms: _Amount | None = Field(None, description="The same of the first token, for each length of prompt.")
    next_token_p95_ms: _Amount | None = Field(None, description="The same of each further token.")
    energy_mj: _Amount | None = Field(None, description="Millijoules of an inference, or of a token where a file keeps a state.")

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by the name of the figure."""
        return _set(self, "p95_ms", "first_token_p95_ms", "next_token_p95_ms", "energy_mj")

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if not self.limits:
            raise mistake("p95_ms, first_token_p95_ms, next_token_p95_ms or energy_mj", "found no limit")
        return self


class BaselineAnswers(Rule):
    """How much of its teacher's right answers a file may lose, as `edgedistill baseline-teacher` measured them."""

    of: str = Field(min_length=1, description="What is counted, as in trials.")
    max_drop: _Difference = Field(description="The upper bound of the drop of the share has to be at most this.")


class BaselineLatency(Rule):
    """How long a file may take on a device beside a request to its teacher."""

    device: str = Field(min_length=1, description="The device, as adb:SERIAL, or its model, as Pixel 8.")
    max_ratio: _Amount = Field(description="The p95 of the file has to be at most so many times that of the teacher.")
    callers: int = Field(1, ge=1, description="The load of the teacher: so many callers at the same time.")


class Baseline(Config):
    """What a file has to keep beside its teacher as `edgedistill baseline-teacher` measured it where the file will run."""

    answers: list[BaselineAnswers] = Field([], max_length=64, description="Whole answers to the same samples of val.")
    latency: list[BaselineLatency] = Field([], max_length=64, description="Latency on devices.")

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if not self.answers and not self.latency:
            raise mistake("answers or latency", "found neither")
        return self


class Shadow(Rule):
    """How far a file may disagree with its teacher on real requests, by `edgedistill shadow`."""

    max: _Share = Field(description="The disagreement has to be inside its tolerance, and the tolerance at most this.")
    folder: str = Field("shadow", min_length=1, description="Where `edgedistill shadow --out` wrote, or a folder with such folders.")


class Reviewed(Rule):
    """What people have to say of a file's answers beside its teacher's, by `edgedistill review`."""

    of: str = Field("overall", min_length=1, description="The question of the review, such as harmlessness.")
    min: _Share | None = Field(None, description="The lower bound of the win rate has to be at least this.")
    max_loss: _Share | None = Field(None, description="The upper bound of the loss rate has to be at most this.")
    max_yes: _Share | None = Field(
        None,
        description="Of a question of yes or no, such as harmful: the upper bound of the share of its answers that are, among judged ones.",
    )
    min_pairs: int = Field(30, ge=1, description="Least number of pairs that were judged.")
    min_alpha: _Share | None = Field(None, description="Least agreement of the reviewers, Krippendorff's alpha.")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if len(found := _set(self, "min", "max_loss", "max_yes")) != 1:
            raise mistake("one of min, max_loss and max_yes", f"found {' and '.join(found) or 'none of them'}")
        return self

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by the name of the field."""
        return _set(self, "min", "max_loss", "max_yes", "min_pairs", "min_alpha")


class Gate(Config):
    """The rules of the gate. Every file that is gated has to keep every rule."""

    files: _Files = Field(
        "all", description="all gates every file of the targets; first gates the file of each target that is to be shipped first."
    )
    against: Literal["teacher", "student"] = Field(
        "teacher", description="What a drop is measured from: the teacher, or the student in floating point."
    )
    confidence: float = Field(0.95, ge=0.5, lt=1, description="Of each bound, one-sided.")
    verified: Rule = Field(Rule(), description="Each file gives what its reference gives; this rule is always there.")
    drop: Drop | None = Field(None, description="The score on the holdout.")
    slices: list[Slice] = Field([], max_length=64, description="The score on parts of the holdout, such as each class.")
    calibration: Calibration | None = Field(None, description="The calibration error on the holdout.")
    trials: list[Tried] = Field([], max_length=64, description="Whole answers: format, policy, scorers.")
    size: Size | None = Field(None, description="Bytes of each file.")
    devices: list[OnDevice] = Field([], max_length=64, description="Latency and energy on devices.")
    baseline: Baseline | None = Field(None, description="The teacher as `edgedistill baseline-teacher` measured it.")
    shadow: Shadow | None = Field(None, description="Disagreement on real requests, by `edgedistill shadow`.")
    reviews: list[Reviewed] = Field([], max_length=64, description="What people say of its answers, by `edgedistill review`.")
