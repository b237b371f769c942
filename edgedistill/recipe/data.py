"""The data part that recipes of every task have: splits, views and batches."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from edgedistill.recipe.base import Config, mistake

MAIN, HOLDOUT = "data", "holdout"
"""The names of what `data.source` and `data.holdout` name, in the field `set` of samples."""

Leakage = Literal["remove", "report", "off"]
LEAKAGE = (
    "What happens to samples of train and val that are the same, nearly the same, or a part of one in a later split: they are removed "
    "from the earlier split, reported, or not looked for."
)


class SetSplit(Config):
    """Which part of a set of samples is kept from training."""

    val: float = Field(0.2, ge=0, lt=1, description="Fraction for validation; 0 for none, and the report has no row of it.")
    holdout: float = Field(0.2, ge=0, lt=1, description="Fraction that is scored once, at the end of a run; 0 for none.")

    @model_validator(mode="after")
    def _leaves_training_data(self) -> "SetSplit":
        if self.val + self.holdout >= 1:
            raise mistake("a sum below 1, so that samples are left to train on", f"found val {self.val} and holdout {self.holdout}")
        return self


class Split(SetSplit):
    """Which part of the samples is kept from training; the rest trains."""

    val: float = Field(0.2, gt=0, lt=1, description="Fraction for validation: parity, verdict and every decision use it.")


def _own_name(name: str) -> str:
    if name in (MAIN, HOLDOUT):
        raise mistake(f"another name than {MAIN} and {HOLDOUT}, which stand for data.source and data.holdout")
    return name


SetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$"), AfterValidator(_own_name)]
SETS = (
    "Further sets of samples by their names, such as a gold set, or one for safety or tone. Each has a weight in training and rows of its "
    "own in the report."
)
OWN_HOLDOUT = (
    "Samples that are the holdout, such as traces of real use; `source` then gives none of its own, and sets give theirs. null takes the "
    "holdout from the data."
)


class SampleSet(Config):
    """A set of samples beside those of `data.source`. A task adds where they come from."""

    weight: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="How often an epoch shows each of its training samples; those of `data.source` are shown once. With 0.5 half of them "
        "are shown, others in each epoch.",
    )
    split: SetSplit | None = Field(None, description="Fractions of this set; null takes those of `data.split`.")


@dataclass(frozen=True)
class Member:
    """What samples of a run come from: `data.source`, one of its sets, or its holdout; `part` is what names the source.

    fractions: shares of val and of the holdout that are drawn where it has no splits; None where all of it is the holdout.
    """

    name: str
    part: Any
    fractions: tuple[float, float] | None


class DataConfig(Config):
    """Samples, and what happens to them before a model sees them. A task adds where they come from."""

    kinds: ClassVar[Mapping[str, Collection[str]]] = {}
    """Fields of which one key says what they are, with these keys: `--set` with another key replaces the field."""

    split: Split = Field(Split(), description="Fractions, drawn by the seed; ignored where the data has splits.")
    views: int = Field(
        4, ge=1, le=1024, description="Augmented views of a sample, replayed by the seed; the teacher's answer is cached for each."
    )
    batch_size: int = Field(64, ge=2, le=65536, description="Samples in a training step.")

    @property
    def members(self) -> list[Member]:
        """All that samples come from, where a task can take several sources; none where it cannot."""
        return []

    @property
    def weights(self) -> dict[str, float]:
        """How often an epoch shows a training sample of each set, by its name; once for those that are not named."""
        return {}


class DataOfSets(DataConfig):
    """Samples of one source, with further sets of them and a holdout of its own. A task says what such a source is."""

    if TYPE_CHECKING:
        # Fields of the subclasses, which know what sources there are.
        sets: Mapping[str, SampleSet]
        holdout: Any

    @property
    def members(self) -> list[Member]:
        """All that samples come from: first what `source` names, then each of the sets, and the holdout last."""
        members = [Member(MAIN, self, (self.split.val, self.split.holdout if self.holdout is None else 0.0))]
        for name, one in self.sets.items():
            split = one.split or self.split
            members.append(Member(name, one, (split.val, split.holdout)))
        return members + ([] if self.holdout is None else [Member(HOLDOUT, self.holdout, None)])

    @property
    def several(self) -> bool:
        """Whether samples have the field `set`."""
        return len(self.members) > 1

    @property
    def weights(self) -> dict[str, float]:
        """See `DataConfig.weights`."""
        return {name: one.weight for name, one in self.sets.items() if one.weight != 1}
