"""Work on many items in their order, by processes of this machine; the results do not depend on how many there are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from edgedistill.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4
"""Items that each process works ahead."""
FORKS = sys.platform == "linux"
"""Whether processes can start as copies of this one; elsewhere system libraries do not bear it."""


class _Refused(Generic[Item]):
    """A user's mistake that a process met."""

    def __init__(self, message: str) -> None:
        self.message = message


class _Work(Generic[Item, Result]):
    def __init__(self, work: Callable[[Item], Result], items: Sequence[Item]) -> None:
        self.work, self.items = work, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Result | _Refused[Item]:
        try:
            return self.work(self.items[number])
        except UserError as error:
            return _Refused(str(error))


def ordered(work: Callable[[Item], Result], items: Sequence[Item], count: int) -> Iterator[Result]:
    """What `work` gives for each of `items`, in their order, made ahead by `count` processes; 0 for none, in this one.

    They are copies of this process, so that `work` may be any function; they compute with one thread each. Where processes cannot be
    copied, this one works alone. A UserError that `work` raises is raised here.
    """
    if count == 0 or not FORKS or len(items) < 2:
        yield from map(work, items)
        return
    import torch
    from torch.utils.data import DataLoader

    # Its generator is its own: the one of the process would draw another number for each loader.
    loader: Any = DataLoader(
        _Work(work, items),  # type: ignore[arg-type]
        batch_size=None,
        num_workers=min(count, len(items)),
        collate_fn=_as_is,
        prefetch_factor=AHEAD,
        multiprocessing_context="fork",
        generator=torch.Generator(),
    )
    for result in loader:
        if isinstance(result, _Refused):
            raise UserError(result.message)
        yield result


def _as_is(result: Any) -> Any:
    return result
