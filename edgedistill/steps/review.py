"""People compare answers of a run or of a shadow phase on a local page; what they say is analysed and exported."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.packages import require
from edgedistill.recipe.loading import recorded
from edgedistill.records.review import REVIEWS_FOLDER
from edgedistill.runs import read_run
from edgedistill.steps.opening import opened

if TYPE_CHECKING:
    from edgedistill.gate.review.pairs import Answers
    from edgedistill.gate.review.sampled import SampledAnswers
    from edgedistill.gate.review.store import Store
    from edgedistill.records.review import ReviewDocument

PAIRS = 50
AnyPath = str | Path


def review(
    run_or_file: AnyPath, *, reference: str | None = None, candidate: str | None = None, pairs: int | None = None, seed: int | None = None,
    reviewers: Sequence[str] = (), host: str = "127.0.0.1", port: int = 8321, ready: Callable[[dict[str, str]], None] | None = None,
    export_to: AnyPath | None = None,
) -> ReviewDocument:  # fmt: skip
    """Let people compare answers of two rungs or files of a run, until Ctrl-C, and return what they said by now.

    run_or_file: a run, or the folder of a shadow phase, whose review of these answers is begun or continued; or the file of a review.
    reference: by default the teacher, or the control; candidate: by default the student. pairs, seed: how many pairs are drawn, and by
    what; by default 50, and by chance.
    reviewers: names that get a link beside those that have one; this user where nobody has. ready: called with all links; without it
    nothing is served. export_to: a .csv or .jsonl file of all judgements.

    Raises UserError where there is nothing to compare, or a review of the same answers was begun with other settings.
    """
    require("gate")
    from edgedistill.gate.review import export
    from edgedistill.gate.review.analysis import analysed

    path = Path(run_or_file)
    if export_to is not None:
        export.check(Path(export_to))
    if path.is_file():
        from edgedistill.gate.review.store import Store

        store = Store(path)
    else:
        store = _begun(path, reference, candidate, pairs, seed)
    try:
        _check(store, reference, candidate, pairs, seed)
        for name in reviewers:
            store.link(name)
        if ready is not None:
            from edgedistill.gate.review.serve import serve

            if not store.tokens():
                store.link(getpass.getuser())
            serve(store, host, port, ready)
        document = analysed(store)
        if export_to is not None:
            export.export(store, Path(export_to))
            document = document.model_copy(update={"export": str(export_to)})
        return document
    finally:
        store.close()


def _begun(path: Path, reference: str | None, candidate: str | None, pairs: int | None, seed: int | None) -> Store:
    """The review of the answers that a run, or a shadow phase, has now; it is begun where there is none."""
    from edgedistill.gate.shadow.tally import PEOPLE, VERDICTS

    if (path / VERDICTS).is_file() or (path / PEOPLE).is_file():
        from edgedistill.gate.review.sampled import SampledAnswers

        return _of(SampledAnswers(path), path, reference, candidate, pairs, seed)
    from edgedistill.gate.review.pairs import Answers

    # The run is free again while people judge: the file has all that they see.
    with opened(read_run, path) as run:
        return _of(Answers(run, recorded(run.folder)), run.shown, reference, candidate, pairs, seed)


def _of(
    answers: Answers | SampledAnswers, folder: Path, reference: str | None, candidate: str | None, pairs: int | None, seed: int | None
) -> Store:
    from edgedistill.gate.review.store import About, Store

    contest = answers.contest(reference, candidate)
    file = folder / REVIEWS_FOLDER / contest.file
    if file.is_file():
        return Store(file)
    differing = contest.differing
    answered, differ = contest.of or (len(contest.answers), len(differing))
    if not differing:
        what = f"{answered} answers of {contest.candidate} and of {contest.reference}"
        raise UserError(f"all {what} are equal, so that there is nothing to compare")
    chosen = secrets.randbits(32) if seed is None else seed
    drawn = Random(chosen).sample(differing, min(pairs or PAIRS, len(differing)))
    about = About(contest.run, contest.reference, contest.candidate, contest.rubric, chosen, answered, differ, len(differing))
    return Store(file, about, [answers.pair(contest, sample) for sample in drawn])


def _check(store: Store, reference: str | None, candidate: str | None, pairs: int | None, seed: int | None) -> None:
    """Raise UserError where options ask for another review than that of `store`."""
    about, count = store.about, len(store.pairs())
    same = {
        "--reference": (reference, about.reference),
        "--candidate": (candidate, about.candidate),
        "--pairs": (None if pairs is None else min(pairs, about.drawn_from or about.differing), count),
        "--seed": (seed, about.seed),
    }
    for option, (asked, found) in same.items():
        if asked not in (None, found):
            raise UserError(
                f"{option}: found {asked}, but {store.path} was begun with {found}; leave the option out to continue that review, or move "
                "the file away to begin anew"
            )
