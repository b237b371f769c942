"""Which of the processes of a training this is; `accelerate launch` and `torchrun` start several and number them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the one that reads and writes for all; the others only train."""
    return int(os.environ.get("RANK", "0")) == 0


def wait() -> None:
    """Wait until every process is here."""
    if count() > 1:
        _state().wait_for_everyone()


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process do the block alone, and the others after it, who find what it left."""
    if not is_main():
        wait()
    yield
    if is_main():
        wait()


def part() -> None:
    """End what is done together. The main process is alone from here on, and so are the children that it starts."""
    if count() > 1:
        _state().destroy_process_group()
        if is_main():
            for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
                os.environ.pop(name, None)


def device() -> torch.device:
    """Where this process computes: its GPU where there is one."""
    return _state().device


def _state() -> PartialState:
    from datetime import timedelta

    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    if count() == 1:
        return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    # Without a GPU accelerate would let each process train for itself, unless it is told that processors are meant. What the main
    # process does alone, such as asking the teacher, may take longer than the half hour of the default.
    return PartialState(cpu=not torch.cuda.is_available() or parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(days=7))
