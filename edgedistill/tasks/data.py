"""What a task gives to train and to judge with: samples, batches of them, and what is known about the data. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from edgedistill.files import read_json, reading, write_json

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from edgedistill.signature import MethodSignature

SPLITS = ("train", "val", "holdout")
UNUSED = len(SPLITS)
"""The number of the split of samples that nothing reads."""
SET = "set"
"""The field of samples that says which set of the data each is from, where the data have several."""
_FACTS = "facts.json"


class DataFacts(BaseModel):
    """What the step `data` found out, as its record holds it. A task adds fields of its own in a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(description="Where the samples come from, for readers.")
    sha256: str = Field(description="Hash of all samples, targets and splits.")
    splits: dict[str, int] = Field(description="Number of samples in train, val and holdout.")
    sizes: dict[str, int] = Field({}, description="The size that each dimension that varies has in the samples.")
    warnings: list[str] = Field([], description="What a user should know of the samples, such as some that stand in two splits.")

    def write(self, folder: Path) -> None:
        """Keep the facts in `folder`, where `read` finds them."""
        write_json(folder / _FACTS, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The facts that `write` kept. Raises DamagedFile where they are not there."""
        with reading(folder / _FACTS):
            return cls.model_validate(read_json(folder / _FACTS))

    def described(self) -> list[str]:
        """What else a reader of the report should know of the data, in a few words each."""
        return []


@dataclass(frozen=True)
class Batch:
    """B samples, as a model and its losses take them. Every tensor starts with the dimension B."""

    inputs: dict[str, Tensor]
    """By the names of the signature's inputs."""
    targets: dict[str, Tensor] = field(default_factory=dict)
    """What the outputs should be, by the name of the output: int64 [B] or [B, T] for classes, or numbers in the shape of the output.
    A whole number below 0 and a NaN say that there is no target at this place."""
    mask: dict[str, Tensor] = field(default_factory=dict)
    """Which positions of an output count, by the name of the output: bool [B] or [B, T]. An output that is not named counts whole."""

    def to(self, device: torch.device) -> Self:
        """The same on `device`."""
        return type(self)(*({name: value.to(device) for name, value in part.items()} for part in (self.inputs, self.targets, self.mask)))

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class Taught:
    """A sample as the ledger of teaching sets is told of it; the ledger keeps a keyed hash of the content alone."""

    place: int
    """Its number in the dataset."""
    content: bytes
    """Its input. Samples with equal ones are one example: they are found and removed together, whatever their targets are."""
    facts: str = "{}"
    """JSON object of what is said of it beside the facts of all samples, such as `licence`, `teacher` and `filters`."""
    time_ms: int | None = None
    """When a teacher wrote it, milliseconds since 1970; None for the time when it is taught."""


class Watch(Protocol):
    """Looks for samples that stand in a later split as well; `Source.prepare` of tasks with `data.leakage` may be given one."""

    warnings: list[str]
    """What was found, for readers."""

    def __call__(self, kind: Literal["texts", "images"], parts: Callable[[], Iterator[Any]], split: np.ndarray) -> np.ndarray:
        """The split of each sample, int8 [N]: `split`, with `UNUSED` for samples that are to be left out.

        parts: gives all samples in their order, a part at a time, whenever it is called: texts, or images uint8 [H, W, 3].
        """


class Source(Protocol):
    """What the recipe's data part names, without reading a sample: mistakes show before any work."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the samples could have changed."""

    def prepare(self, folder: Path, seed: int) -> DataFacts:
        """Write what a `Dataset` reads into the empty `folder`; splits that the data lacks are drawn by `seed`.

        A task whose recipes have `data.leakage` takes a `Watch` too, as `watch`; it is asked once the splits are known.

        Raises UserError that names every unreadable sample.
        """


class Dataset(Protocol):
    """The samples of a run, numbered from 0. It reads from the folder that `Source.prepare` wrote, and holds little in memory."""

    @property
    def facts(self) -> DataFacts:
        """What the step `data` found out."""

    @property
    def indices(self) -> Mapping[str, np.ndarray]:
        """Numbers of the samples of each split, int64 [n]."""

    def __len__(self) -> int:
        """Number of samples N in all splits."""

    @property
    def has_target(self) -> np.ndarray:
        """Whether each sample has a target, bool [N]; one without is taught by the teacher alone, and stands in train only."""

    @property
    def fields(self) -> Mapping[str, np.ndarray]:
        """Further facts of each sample, [N], by name; teachers can be chosen by them.

        One with the name of a dimension that varies is the size to which the sample is filled up, int [N]; see `of_one_size`.
        """

    def batch(self, indices: np.ndarray, view: int | None, *, keep: bool = True) -> Batch:
        """The samples `indices` [B] as view `view` shows them: a function of the seed, the sample and the view alone.

        view: None for the samples as they are, which val and holdout are scored on. keep: the view will be asked for again.
        A dimension that varies has the largest of their sizes.
        """

    def inputs(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The samples `indices` as they are, as programs take them: by name of the input, with B in front or as its first dimension.

        A dimension that varies has its largest size; cut to the size of a sample they hold the whole sample.
        """

    def targets(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """What metrics compare outputs with, [B, ...] by name of the output; empty where the data has no targets."""


def sizes_of(data: Dataset, method: MethodSignature, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The sizes to which the samples `indices` [B] are filled up, int [B] by the name of a dimension; empty where all have the same."""
    names = dict.fromkeys(name for spec in method.inputs for name in spec.dynamic)
    return {name: data.fields[name][indices] for name in names if name in data.fields}


def of_one_size(sizes: Mapping[str, np.ndarray]) -> list[tuple[dict[str, int], np.ndarray]]:
    """The different sizes of samples, rising, and the places of the samples that have them, int [n]; see `sizes_of`."""
    import numpy as np

    if not sizes:
        return []
    rows, group = np.unique(np.stack([*sizes.values()], axis=1), axis=0, return_inverse=True)
    return [(dict(zip(sizes, row.tolist(), strict=True)), np.flatnonzero(group == number)) for number, row in enumerate(rows)]


def chosen(data: Dataset, split: str, most: int) -> np.ndarray:
    """The numbers of at most `most` samples of a split, of each set of the data, at even distances, int64 [n]."""
    import numpy as np

    numbers = data.indices[split]
    if (sets := data.fields.get(SET)) is None:
        return numbers[spread(len(numbers), most)]
    groups = [numbers[sets[numbers] == name] for name in dict.fromkeys(sets[numbers].tolist())]
    return np.concatenate([group[spread(len(group), most)] for group in groups])


def spread(count: int, most: int) -> np.ndarray:
    """Places of at most `most` of `count` samples, at even distances: files of folders come sorted."""
    import numpy as np

    return np.linspace(0, count - 1, min(most, count)).round().astype(int)
