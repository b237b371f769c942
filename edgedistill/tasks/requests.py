"""What an app asks of a teacher while it has no student: one sample a request, by several callers at the same time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import JsonValue

from edgedistill.errors import UserError
from edgedistill.records import Score

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.tasks.base import Teacher
    from edgedistill.tasks.data import Dataset

HERE = "this machine"
RIGHT = "exact"
"""The name of the share of answers that are right, in `Judged.shares`."""


@dataclass(frozen=True)
class Reply:
    """What came of a request. It has an `error`, or a `value`."""

    row: int
    """Number of the sample."""
    seconds: float
    value: Any = None
    error: str | None = None
    tokens: tuple[int, int] | None = None
    """Tokens that were read and written, where they were counted."""


@dataclass(frozen=True)
class Judged:
    """What is right about whole answers."""

    shares: dict[str, Score] = field(default_factory=dict)
    """Each share of the answers by what is judged; `RIGHT` among them where an answer is right or wrong."""
    further: dict[str, float] = field(default_factory=dict)
    each: dict[str, np.ndarray] = field(default_factory=dict)
    """For each answer whether it is right, bool [n] by what is judged, as in `shares`."""


class Requests(Protocol):
    """A teacher as an app asks it."""

    where: str
    """Who answers: `HERE`, or the host of a service."""
    settings: Mapping[str, JsonValue]
    """How it is asked."""

    def ask(self, rows: np.ndarray, callers: int) -> list[Reply]:
        """Ask once for each of the samples `rows` [n], in any order, by so many callers at the same time; n replies.

        Raises UserError where the teacher refuses what it is asked.
        """

    def judge(self, replies: Sequence[Reply]) -> Judged:
        """What is right about answers; nothing where only the outputs of a call are judged."""

    def valid(self, reply: Reply) -> bool | None:
        """Whether an answer is of the format that the recipe wants; None where it wants none."""


class ModuleRequests:
    """A teacher that answers a call with the outputs of the signature."""

    where = HERE

    def __init__(self, teacher: Teacher, data: Dataset) -> None:
        self._teacher, self._data = teacher, data
        self.settings: Mapping[str, JsonValue] = {"batch": 1}

    def ask(self, rows: np.ndarray, callers: int) -> list[Reply]:
        """Call it with one sample at a time; reading the samples is not timed."""
        import numpy as np

        inputs = {int(row): self._data.batch(np.array([row]), None).inputs for row in rows}

        def answer(row: int) -> tuple[None, None]:
            self._teacher(inputs[row])
            return None, None

        return by_callers(answer, rows, callers)

    def judge(self, replies: Sequence[Reply]) -> Judged:
        """Nothing: outputs are scored by the primary metric."""
        return Judged()

    def valid(self, reply: Reply) -> None:
        """Outputs have no format."""
        return None


def by_callers(answer: Callable[[int], tuple[Any, tuple[int, int] | None]], rows: np.ndarray, callers: int) -> list[Reply]:
    """The replies to the samples `rows` [n] by threads of this process. `answer` gives a value, and tokens where they are counted.

    Raises UserError where `answer` does: a mistake in a recipe is no error of one request.
    """
    waiting, replies = iter(rows.tolist()), list[Reply]()

    def call() -> None:
        # `next` and `append` are atomic.
        while (row := next(waiting, None)) is not None:
            started = time.perf_counter()
            try:
                value, tokens = answer(row)
            except UserError:
                raise
            except Exception as error:
                # Models raise whatever their code meets, and the other requests go on.
                replies.append(Reply(row, time.perf_counter() - started, error=f"{type(error).__name__}: {error}"[:300]))
            else:
                replies.append(Reply(row, time.perf_counter() - started, value, tokens=tokens))

    with ThreadPoolExecutor(callers) as pool:
        for done in [pool.submit(work) for work in itertools.repeat(call, callers)]:
            done.result()
    return replies


@dataclass(frozen=True)
class Demands:
    """What the samples of val ask of a model beyond what the training samples show."""

    unseen: int
    """Samples of val whose target has what no training sample shows: a model has to know it from elsewhere."""
    n: int
    unseen_is: str
    """What these do, behind "3 of 10 texts of val", as "are of a class without training texts"."""
    length: tuple[float, float] | None = None
    """Median and 95% quantile of the length of an answer, of tasks whose models write."""
    steps: tuple[float, float] | None = None
    """The same of the answers that a model gives one after the other until a request is done."""
