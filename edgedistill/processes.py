"""Coordinates the processes of a training. `accelerate launch` and `torchrun` start and number them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState


def count() -> int:
    """The number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process reads and writes for all; the others only train."""
    return int(os.environ.get("RANK", "0")) == 0


def wait() -> None:
    """Wait for all processes."""
    if count() > 1:
        _state().wait_for_everyone()


@contextmanager
def main_first() -> Iterator[None]:
    """Run the block in the main process first, then in the others, which find its results."""
    if not is_main():
        wait()
    yield
    if is_main():
        wait()


def part() -> None:
    """End the joint work. From here on the main process and its children run alone."""
    if count() > 1:
        _state().destroy_process_group()
        if is_main():
            for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
                os.environ.pop(name, None)


def device() -> torch.device:
    """The device of this process: its GPU if there is one."""
    return _state().device


def _state() -> PartialState:
    from datetime import timedelta

    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    if count() == 1:
        return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    # Without a GPU and without cpu=True, accelerate would let each process train on its own. The work that the main process does alone,
    # such as computing the teacher's signals, may take longer than the default timeout of half an hour.
    return PartialState(cpu=not torch.cuda.is_available() or parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(days=7))
