"""Opens the run that a user named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import DamagedFile, UserError
from edgedistill.run import MADE_AGAIN, Run
from edgedistill.runs import check_run

if TYPE_CHECKING:
    from edgedistill.records.summary import Summary


@contextmanager
def opened(how: Callable[[Path], AbstractContextManager[Run]], run_dir: str | Path) -> Iterator[Run]:
    """The run at `run_dir`, by `open_run` or `read_run`; UserError where a file of it is damaged that the block reads."""
    with how(existing(run_dir)) as run:
        try:
            yield run
        except DamagedFile as error:
            said = str(error).replace(str(run.folder), str(run.shown))
            raise UserError(said if said.endswith(MADE_AGAIN) else f"{said}; {MADE_AGAIN}") from error


def summary_of(run: Run) -> Summary:
    """What a run leaves behind; UserError where it is not finished yet."""
    from edgedistill.records.summary import Summary

    if not (file := run.shown / "summary.json").is_file():
        raise UserError(f"{run.shown} has no summary.json yet; finish it with `edgedistill run` of its recipe")
    return Summary.read(file)


def existing(run_dir: str | Path) -> Path:
    """The folder of a run; UserError where there is none of this version."""
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} is not a run; make one with `edgedistill run recipes/quickstart.yaml`, or name the folder of one")
    check_run(run_dir)
    return run_dir
