"""The commands of the ledger of teaching sets: verify, show, remove."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import tasks
from edgedistill.errors import DamagedFile, UserError
from edgedistill.files import overwrite, read_array, read_json
from edgedistill.packages import require
from edgedistill.progress import log
from edgedistill.records.ledger import Removal
from edgedistill.run import Run
from edgedistill.runs import is_run, open_run
from edgedistill.steps.erasing import erase
from edgedistill.steps.teaching_set import EXAMPLES, among
from edgedistill.teach.ledger import lookup
from edgedistill.teach.ledger.ledger import FOLDER, Ledger
from edgedistill.teach.ledger.verify import verify

if TYPE_CHECKING:
    from edgedistill.records.ledger import LedgerCheck, LedgerExample, LedgerSummary

_CACHE = ".cache"


@dataclass(frozen=True)
class Named:
    """How a user names an example: by its hash, by a row of the ledger, by a sample of a run, or by a file with its content."""

    example: str | None = None
    row: int | None = None
    sample: tuple[str, int] | None = None
    file: Path | None = None

    def given(self) -> bool:
        """Whether any of them is given. Raises UserError where several are."""
        ways = [value for value in vars(self).values() if value is not None]
        if len(ways) > 1:
            raise UserError("found an example named in several ways, expected one of HASH, --row, --run with --sample, and --file")
        return bool(ways)

    def of(self, ledger: Ledger) -> bytes:
        """The hash of the example. Raises UserError where there is none."""
        if self.row is not None:
            return lookup.example_of(ledger, self.row)
        if self.sample is not None:
            return lookup.at(ledger, *self.sample)
        if self.file is not None:
            return ledger.identify(self.file.read_bytes())
        try:
            name = bytes.fromhex(self.example or "")
        except ValueError:
            name = b""
        if len(name) != 16:
            raise UserError(f"found the hash '{self.example}', expected 32 hexadecimal digits, as `edgedistill ledger show` prints them")
        return name


def existing(runs_dir: Path) -> Ledger:
    """The ledger of the runs in `runs_dir`; UserError where there is none."""
    require("report")
    ledger = Ledger(runs_dir / FOLDER)
    if not ledger.folder.is_dir():
        raise UserError(f"found no ledger in {runs_dir}; `edgedistill run` of a recipe makes it, or name another --runs-dir")
    return ledger


def verify_ledger(runs_dir: Path, heads: list[str]) -> LedgerCheck:
    """Verify the ledger of the runs in `runs_dir`, also against the heads that its runs noted, and those that the user kept."""
    ledger, anchors = existing(runs_dir), {f"--head {head[:16]}": head for head in heads}
    for folder in sorted(path for path in runs_dir.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if (noted := Run(folder).result("ledger")) is not None:
            anchors[f"the run {folder.name}"] = noted["head"]
    return verify(ledger, anchors)


def show(runs_dir: Path, named: Named) -> LedgerSummary | LedgerExample:
    """What the ledger of the runs in `runs_dir` says of an example, or of all sets."""
    ledger = existing(runs_dir)
    return lookup.example(ledger, named.of(ledger)) if named.given() else lookup.summary(ledger)


def remove_example(runs_dir: Path, named: Named, reason: str | None, *, dry_run: bool = False) -> Removal:
    """Note that an example was removed, and erase it: in all runs that hold it, cached signals, and answers that were written to it.

    A run that learned it keeps its weights and files until it is made again. Raises UserError where one of these runs is at work.
    """
    ledger = existing(runs_dir)
    if not named.given():
        raise UserError("found no example, expected one of HASH, --row, --run with --sample, and --file")
    name = named.of(ledger)
    holding = [folder for folder in _runs(runs_dir) if _holds(Run(folder), name)]
    # A run notes its samples after it read them.
    known = lookup.example(ledger, name, known=not holding)
    runs = sorted({*known.runs, *(folder.name for folder in holding)})
    removal = Removal(ledger=str(ledger.folder), example=name.hex(), row=None, runs=runs, erased=[], answers=0)
    caches = _caches(runs_dir, {use.data for use in lookup.uses(ledger) if use.run in runs})
    if dry_run:
        return removal.model_copy(update={"erased": [*map(str, holding), *map(str, caches)]})
    with ExitStack() as stack:
        opened = [stack.enter_context(open_run(folder)) for folder in holding]
        # Noted first: should this end before its end, no run learns the example, and the same command goes on.
        row = _note(ledger, name, reason, runs)
        erased = [path for run in opened for path in erase(run)]
    for cache in caches:
        overwrite(cache)
    cache = runs_dir / _CACHE / "answers"
    answers = sum(tasks.task(kind).forget(cache, lambda content: ledger.identify(content) == name) for kind in tasks.tasks())
    return removal.model_copy(update={"row": row, "erased": [*erased, *map(str, caches)], "answers": answers})


def _note(ledger: Ledger, name: bytes, reason: str | None, runs: list[str]) -> int:
    """Append the removal, unless it was appended before; its row."""
    noted = ledger.select("SELECT row, example_high, example_low FROM ledger WHERE kind = 'removed'")
    before = [row for row, high, low in noted if high.to_bytes(8) + low.to_bytes(8) == name]
    if before:
        log(f"the example was removed before, see row {before[0]}: what is left of it is erased")
        return int(before[0])
    with ledger.appending() as writer:
        return writer.note("removed", {"reason": reason, "runs": runs}, example=name)


def _runs(runs_dir: Path) -> list[Path]:
    return sorted(path for path in runs_dir.iterdir() if path.is_dir() and not path.name.startswith(".") and is_run(path))


def _holds(run: Run, name: bytes) -> bool:
    """Whether an example is among the samples of a run."""
    path = run.work(EXAMPLES, "example.npy")
    return path.exists() and bool(among(read_array(path), [name]).any())


def _caches(runs_dir: Path, data: set[str]) -> list[Path]:
    """The folders of cached signals of these data."""
    found = []
    for mark in sorted((runs_dir / _CACHE / "signals").glob("*/signals.json")):
        try:
            of = read_json(mark)["facts"]["data"]
        except (DamagedFile, KeyError, TypeError):
            # Whose signals these are nobody knows, and the cache makes them anew.
            of = None
        if of is None or of in data:
            found.append(mark.parent)
    return found
