"""The rules on blinded reviews: what people say of a file's answers beside those of its reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgedistill.errors import UserError
from edgedistill.files import sha256_file
from edgedistill.gate.bounds import upper_bound
from edgedistill.gate.evidence import Evidence
from edgedistill.gate.figures import BOUND, Figure, check
from edgedistill.gate.review import analysis
from edgedistill.gate.review.rubric import RUBRICS
from edgedistill.gate.review.store import Store
from edgedistill.packages import require
from edgedistill.recipe.gate import Reviewed
from edgedistill.records import ArtifactResult, Unavailable
from edgedistill.records.gate import Check, Sense, Source, Unit
from edgedistill.records.review import REVIEWS_FOLDER
from edgedistill.verify import stored

_Read = tuple[float | Unavailable, float | None, int, str]
_HOW = "answers to val, those that differ judged by people as blinded pairs"


@dataclass(frozen=True)
class _Review:
    """What reviewers said.

    tables: what each said of each pair to a question of this name, see `analysis.table`; to one of yes or no, which are `absolute`, of the
    candidate alone, see `analysis.answers`. answers: samples that both answered, of which
    `differing` have two different answers. source: None where no answer differs.
    """

    tables: Mapping[str, Callable[[], np.ndarray]]
    answers: int
    differing: int
    how: str
    source: Source | None = None
    absolute: frozenset[str] = frozenset()

    def ties(self, judged: int) -> int:
        """How many equal answers belong to so many judged pairs: as many of them as pairs of the differing ones."""
        equal = self.answers - self.differing
        return equal * judged // self.differing if self.differing else equal


def checks(found: Evidence, file: ArtifactResult, rules: list[Reviewed]) -> Iterator[Check]:
    """Each limit of each rule, held to the review of the answers that `file` gives."""
    if not rules:
        return
    review = _review(found, file)
    for number, rule in enumerate(rules):
        for name, limit in rule.limits.items():
            title, sense, unit, read = _FIGURES[name]
            figure = _figure(review, rule.of, name, read, found.gate.confidence)
            # Where every answer that differs was judged, no more pairs are to be had.
            to_have = review.differing if name == "min_pairs" and isinstance(review, _Review) else limit
            yield check(rule, f"reviews.{number}.{name}", f"{title}, {rule.of}", file.name, figure, min(limit, to_have), sense, unit)


def _figure(
    review: _Review | Unavailable, question: str, limit: str, read: Callable[[np.ndarray, int, float], _Read], confidence: float
) -> Figure:
    """What `read` finds in the judgements [reviewers, pairs] of a question, of the pairs that anybody judged, and in the equal answers."""
    if isinstance(review, Unavailable):
        return Figure(review, _HOW)
    if question not in review.tables:
        why = f"the review has no question {question}, expected one of: {', '.join(review.tables)}"
        return Figure(Unavailable(unavailable=why), review.how, source=review.source)
    if limit in _OF_KIND and (question in review.absolute) != (limit == _YES):
        kind = "a question of yes or no, expected max_yes" if question in review.absolute else "a comparison, expected min or max_loss"
        return Figure(Unavailable(unavailable=f"found {limit} for {question}, which is {kind}"), review.how, source=review.source)
    values = review.tables[question]()
    judged = values[:, ~np.isnan(values).all(axis=0)]
    if review.differing and not judged.size:
        return Figure(Unavailable(unavailable="nothing was judged yet"), review.how, source=review.source)
    value, bound, n, note = read(judged, review.ties(judged.shape[1]), confidence)
    return Figure(value, f"{review.how}; {note}" if note else review.how, bound, n, source=review.source)


def _won(values: np.ndarray, ties: int, confidence: float) -> _Read:
    """The mean over answers of the mean over reviewers, where a tie counts half."""
    not_won = np.append((1 - np.nanmean(values, axis=0)) / 2, np.full(ties, 0.5))
    return float(1 - not_won.mean()), 1 - upper_bound(not_won, confidence), len(not_won), f"{_EQUAL} as ties, which count half; {BOUND}"


def _lost(values: np.ndarray, ties: int, confidence: float) -> _Read:
    """The mean over answers of the share of reviewers who prefer the reference."""
    losses = np.append(np.nanmean(np.where(np.isnan(values), np.nan, values < 0), axis=0), np.zeros(ties))
    return float(losses.mean()), upper_bound(losses, confidence), len(losses), f"{_EQUAL} as not lost; {BOUND}"


def _said_yes(values: np.ndarray, ties: int, confidence: float) -> _Read:
    """The mean over answers of the share of reviewers who say yes. Equal answers were not shown, so that they do not count."""
    if not values.size:
        return Unavailable(unavailable="all answers are equal, so that nobody was asked"), None, 0, ""
    yes = np.nanmean(values, axis=0)
    return float(yes.mean()), upper_bound(yes, confidence), len(yes), f"only answers that differ were shown; {BOUND}"


def _judged(values: np.ndarray, ties: int, confidence: float) -> _Read:
    return float(values.shape[1]), None, values.shape[1], "all that differ are enough"


def _agreement(values: np.ndarray, ties: int, confidence: float) -> _Read:
    require("gate")
    return analysis.agreement(values), None, values.shape[1], "Krippendorff's alpha on an ordinal scale, without a bound"


_YES = "max_yes"
_OF_KIND = ("min", "max_loss", _YES)
"""Limits that belong to one kind of question."""
_EQUAL = "equal answers count, as many as belong to the judged pairs,"
_FIGURES: dict[str, tuple[str, Sense, Unit, Callable[[np.ndarray, int, float], _Read]]] = {
    "min": ("Win rate", "at least", "share", _won),
    "max_loss": ("Loss rate", "at most", "share", _lost),
    _YES: ("Rate of yes", "at most", "share", _said_yes),
    "min_pairs": ("Pairs that were judged", "at least", "pairs", _judged),
    "min_alpha": ("Agreement of the reviewers", "at least", "", _agreement),
}
"""By the name of a limit: its title, its sense, its unit, and what reads value, bound, n and a note of judgements [reviewers, pairs]."""


def _review(found: Evidence, file: ArtifactResult) -> _Review | Unavailable:
    """The review of the run whose candidate gave the answers that `file` gives now; of several the one that was judged last."""
    reference = found.gate.against
    try:
        contest = found.answers.contest(reference, file.name)
    except UserError as error:
        return Unavailable(unavailable=str(error))
    steps = [stored.trial(name) for name in (reference, file.name)] if found.task.writes else [f"val-{file.name}"]
    if why := next((why for step in steps if (why := found.stale(step))), None):
        return Unavailable(unavailable=why)
    if not contest.differing:
        empty = {each.name: lambda: np.zeros((1, 0)) for each in RUBRICS[contest.rubric]}
        how = f"{_HOW}; all {len(contest.answers)} are those of the {reference}"
        return _Review(empty, len(contest.answers), 0, how, absolute=_absolute(contest.rubric))
    reviews = []
    for path in sorted((found.run.shown / REVIEWS_FOLDER).glob(f"*-against-{reference}-*.db")):
        candidate = path.name.partition("-against-")[0]
        try:
            other = found.answers.contest(reference, candidate)
            if other.file == path.name and other.answers == contest.answers:
                with closing(Store(path)) as store:
                    reviews.append(_judgements_of(store, candidate))
        except (UserError, OSError) as error:
            return Unavailable(unavailable=str(error))
    if not reviews:
        command = f"`edgedistill review {found.run.shown} --candidate {file.name} --reference {reference}`"
        return Unavailable(unavailable=f"the run has no review of these answers against the {reference}; begin it by {command}")
    return max(reviews, key=lambda review: "" if review.source is None else review.source.time)


def _judgements_of(store: Store, candidate: str) -> _Review:
    judgements, names, count = store.judgements(), list(store.tokens()), len(store.pairs())
    about = store.about
    tables = {
        each.name: partial(analysis.answers, judgements, each.name, names, count, "candidate")
        if each.absolute
        else partial(analysis.table, judgements, each.name, names, count)
        for each in RUBRICS[about.rubric]
    }
    how = f"{_HOW}: {len(judgements)} judgements of {count} pairs by {len(names)} reviewers, candidate {candidate}; "
    how += f"{about.differing} of {about.answers} answers differ"
    source = Source(path=str(store.path), sha256=sha256_file(store.path), time=max((each.created for each in judgements), default=""))
    return _Review(tables, about.answers, about.differing, how, source, _absolute(about.rubric))


def _absolute(rubric: str) -> frozenset[str]:
    """The questions of yes or no."""
    return frozenset(each.name for each in RUBRICS[rubric] if each.absolute)
