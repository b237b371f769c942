"""What the judgements of a review say: win rates with their intervals, and how far reviewers agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgedistill.gate.review.rubric import AUTHORS, OVERALL, RUBRICS
from edgedistill.records.base import Unavailable
from edgedistill.records.review import AbsoluteResult, CriterionResult, Rate, ReviewDocument, ReviewerResult, WinRate
from edgedistill.tasks.intervals import wilson

if TYPE_CHECKING:
    from edgedistill.gate.review.store import About, Judgement, Store

_VALUES = {"reference": -1.0, "same": 0.0, "candidate": 1.0}
_NOTHING = "nothing was judged yet"


def analysed(store: Store) -> ReviewDocument:
    """The result of a review by now."""
    about, judgements, count = store.about, store.judgements(), len(store.pairs())
    names, rubric = list(store.tokens()), RUBRICS[about.rubric]
    tables = {each.name: table(judgements, each.name, names, count) for each in rubric if not each.absolute}
    absolute = {each.name: [answers(judgements, each.name, names, count, who) for who in AUTHORS] for each in rubric if each.absolute}
    return ReviewDocument(
        file=str(store.path),
        run=about.run,
        reference=about.reference,
        candidate=about.candidate,
        rubric=about.rubric,
        seed=about.seed,
        answers=about.answers,
        differing=about.differing,
        pairs=count,
        judgements=len(judgements),
        criteria={name: _criterion(values) for name, values in tables.items()},
        absolute={name: _absolute(*both) for name, both in absolute.items()},
        all_answers=_of_all(win_rate(tables[OVERALL]), about),
        reviewers=[_reviewer(name, [each for each in judgements if each.reviewer == name]) for name in names],
    )


def table(judgements: Sequence[Judgement], criterion: str, reviewers: Sequence[str], pairs: int) -> np.ndarray:
    """What each reviewer said of each pair, float64 [reviewers, pairs]: 1 for the candidate, 0 for a tie, -1 for the reference.

    NaN says nothing.
    """
    values = np.full((len(reviewers), pairs), np.nan)
    for each in judgements:
        values[reviewers.index(each.reviewer), each.pair] = _VALUES[each.choices[criterion]]
    return values


def answers(judgements: Sequence[Judgement], criterion: str, reviewers: Sequence[str], pairs: int, who: str) -> np.ndarray:
    """What each reviewer said of each answer of `who` by itself, float64 [reviewers, pairs]: 1 for yes, 0 for no; NaN says nothing."""
    values = np.full((len(reviewers), pairs), np.nan)
    for each in judgements:
        values[reviewers.index(each.reviewer), each.pair] = each.choices[criterion] in (who, "both")
    return values


def win_rate(values: np.ndarray) -> WinRate | Unavailable:
    """How often the candidate is preferred, where a tie counts half; values [reviewers, pairs] of `table`. See `rate`."""
    found = rate((values + 1) / 2)
    return found if isinstance(found, Unavailable) else WinRate(**found.model_dump())


def rate(values: np.ndarray) -> Rate | Unavailable:
    """The mean over pairs of their mean over reviewers; values [reviewers, pairs] in 0..1, NaN where nothing was said.

    The interval is Wilson's. Its n is that of yes-no samples whose mean is as certain as that of the pairs, which vary less: ties and
    several reviewers give values between 0 and 1. The variance has a pair of 0 and one of 1 more, so that few pairs which are alike
    still give a width. Reviewers count as given: it says nothing of what others would say.
    """
    judged = ~np.isnan(values).all(axis=0)
    if not judged.any():
        return Unavailable(unavailable=_NOTHING)
    means = np.nanmean(values[:, judged], axis=0)
    mean, count, padded = float(means.mean()), len(means), np.append(means, (0.0, 1.0))
    n = count * padded.mean() * (1 - padded.mean()) / padded.var()
    return Rate(value=mean, interval=wilson(mean * n, n), pairs=count)


def agreement(values: np.ndarray) -> float | Unavailable:
    """Krippendorff's alpha of values [reviewers, pairs] on an ordinal scale, NaN where nothing was said.

    Two values, such as yes and no, have the same alpha on a nominal scale.

    Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
    """
    import krippendorff

    together = (~np.isnan(values)).sum(axis=0) >= 2
    if not together.any():
        return Unavailable(unavailable="no pair was judged by two reviewers")
    if len(np.unique(values[:, together][~np.isnan(values[:, together])])) < 2:
        return Unavailable(unavailable="all judgements are equal, which says nothing of agreement")
    return float(krippendorff.alpha(reliability_data=values[:, together], level_of_measurement="ordinal"))


def _criterion(values: np.ndarray) -> CriterionResult:
    counts = {name: int((values == value).sum()) for name, value in _VALUES.items()}
    return CriterionResult(**counts, win_rate=win_rate(values), alpha=agreement(values))


def _absolute(reference: np.ndarray, candidate: np.ndarray) -> AbsoluteResult:
    # Each answer is a unit that reviewers say yes or no to, whoever wrote it.
    alpha = agreement(np.concatenate([reference, candidate], axis=1))
    return AbsoluteResult(reference=rate(reference), candidate=rate(candidate), alpha=alpha)


def _of_all(rate: WinRate | Unavailable, about: About) -> WinRate | Unavailable:
    """The win rate over all answers, if the pairs are like the differing ones that were not drawn."""
    if isinstance(rate, Unavailable):
        return rate
    share = about.differing / about.answers
    value, low, high = (share * each + (1 - share) / 2 for each in (rate.value, *rate.interval))
    return WinRate(value=value, interval=(low, high), pairs=rate.pairs)


def _reviewer(name: str, judgements: Sequence[Judgement]) -> ReviewerResult:
    sides = [(each.choices[OVERALL] == "candidate") == each.candidate_first for each in judgements if each.choices[OVERALL] != "same"]
    return ReviewerResult(
        name=name,
        judged=len(judgements),
        median_s=float(np.median([each.seconds for each in judgements])) if judgements else Unavailable(unavailable=_NOTHING),
        first=float(np.mean(sides)) if sides else Unavailable(unavailable="neither A nor B was chosen yet"),
    )
