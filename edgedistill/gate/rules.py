"""Holds the figures of one file to the rules of the gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from edgedistill.gate import beside_teacher, by_people, in_shadow
from edgedistill.gate.bounds import calibration_error, drop, share_above
from edgedistill.gate.evidence import HOLDOUT, Evidence, matching
from edgedistill.gate.figures import BOUND, Figure, check
from edgedistill.gate.on_device import FIGURES, setup
from edgedistill.recipe.gate import OnDevice, Slice, Tried
from edgedistill.records import ArtifactResult, Unavailable
from edgedistill.records.gate import Check, SliceFigure

_MOST_SLICES = 1000


def checks(found: Evidence, file: ArtifactResult, *, first: bool) -> list[Check]:
    """Every rule of the gate on `file`, in the order of the recipe's fields. first: whether a target is to ship it first."""
    gate, name, every = found.gate, file.name, [check(found.gate.verified, "verified", "Verified", file.name, _verified(found, file))]
    if gate.drop is not None:
        title = f"Drop of {found.task.metric.title} against the {gate.against}"
        every.append(check(gate.drop, "drop", title, name, _drop(found, file), gate.drop.max, "at most", "points"))
    for number, rule in enumerate(gate.slices):
        figure = _worst(found, file, rule)
        every.append(
            check(rule, f"slices.{number}", f"Drop on the worst {rule.by}{_of(rule.where)}", name, figure, rule.max, "at most", "points")
        )
    if gate.calibration is not None:
        title, figure = "Calibration error", _calibration(found, file)
        every.append(check(gate.calibration, "calibration", title, name, figure, gate.calibration.max, "at most", "share"))
    every += [_tried(found, file, f"trials.{number}", rule) for number, rule in enumerate(gate.trials)]
    if gate.size is not None and (first or gate.size.files == "all"):
        figure = Figure(file.bytes / 1e6, "bytes of the file, 10^6 in a megabyte")
        every.append(check(gate.size, "size", "Size", name, figure, gate.size.max_mb, "at most", "MB"))
    for number, on_device in enumerate(gate.devices):
        every += _on_device(found, file, f"devices.{number}", on_device)
    if gate.baseline is not None:
        every += beside_teacher.checks(found, file, gate.baseline)
    if gate.shadow is not None:
        every += in_shadow.checks(found, file, gate.shadow)
    every += by_people.checks(found, file, gate.reviews)
    return every


def missing(found: Evidence, name: str, why: str) -> Check:
    """The check of a file that the targets want and the run does not have."""
    figure = Figure(Unavailable(unavailable=why), "the files of the targets that the run has")
    return check(found.gate.verified, "verified", "Verified", name, figure)


def _verified(found: Evidence, file: ArtifactResult) -> Figure:
    if changed := found.changed(file):
        return Figure(0.0, changed)
    how = f"outputs on val held to those of the reference; executed by {file.executed_by}"
    if file.ok is not None:
        return Figure(float(file.ok), how)
    return Figure(Unavailable(unavailable=getattr(file.parity, "unavailable", "it was not executed")), how)


def _samples(found: Evidence, file: ArtifactResult) -> str:
    words, reference = found.task.words.samples, found.gate.against
    return f"{reference} less file on the same {words} of the {HOLDOUT}, the file executed by {file.executed_by}"


def _of(where: Mapping[str, str]) -> str:
    """Which samples a rule judges, for readers; nothing where it judges all."""
    return " with " + ", ".join(f"{name} {value}" for name, value in where.items()) if where else ""


def _drop(found: Evidence, file: ArtifactResult) -> Figure:
    paired = found.paired(file)
    if isinstance(paired, Unavailable):
        return Figure(paired, _samples(found, file))
    reference, scores, _ = paired
    value, bound = drop(reference, scores, found.gate.confidence)
    return Figure(value, f"{_samples(found, file)}; {BOUND}", bound, len(scores))


def _worst(found: Evidence, file: ArtifactResult, rule: Slice) -> Figure:
    """The slice with the highest bound.

    Each bound has the whole confidence: the rule passes where every one of them is low enough, which no correction has to make rarer
    (the intersection-union test, Berger 1982, Technometrics 24).
    """
    how = f"{_samples(found, file)}{_of(rule.where)}, those of each {rule.by} alone; {BOUND}, of each slice by itself"
    if rule.by not in found.slices:
        known = ", ".join(found.slices) or "none"
        return Figure(Unavailable(unavailable=f"the data has no field {rule.by}, expected one of: {known}"), how)
    paired = found.paired(file)
    if isinstance(paired, Unavailable):
        return Figure(paired, how)
    reference, scores, places = paired
    if rule.where:
        if isinstance(chosen := matching(found.slices, rule.where), Unavailable):
            return Figure(chosen, how)
        reference, scores, places = (values[chosen[places]] for values in paired)
    names, groups = np.unique(found.slices[rule.by][places], return_inverse=True)
    if len(names) > _MOST_SLICES:
        return Figure(Unavailable(unavailable=f"{rule.by} has {len(names):,} values, expected {_MOST_SLICES:,} at most"), how)
    figures = []
    for number, name in enumerate(names.tolist()):
        of_it = groups == number
        value, bound = drop(reference[of_it], scores[of_it], found.gate.confidence)
        judged = of_it.sum() >= rule.min_samples
        figures.append(
            SliceFigure(
                slice=str(name), n=int(of_it.sum()), value=value, bound=bound if judged else None, ok=bound <= rule.max if judged else None
            )
        )
    if not figures:
        return Figure(Unavailable(unavailable=f"{file.name} took none of these samples"), how)
    figures.sort(key=lambda each: -np.inf if each.bound is None else each.bound, reverse=True)
    if figures[0].bound is None:
        return Figure(Unavailable(unavailable=f"no {rule.by} has {rule.min_samples} samples in the {HOLDOUT}"), how, slices=figures)
    worst, few = figures[0], sum(each.bound is None for each in figures)
    how += f"; {few} of {len(figures)} have fewer than {rule.min_samples} samples and are not judged" if few else ""
    return Figure(worst.value, how, worst.bound, worst.n, worst.slice, figures)


def _calibration(found: Evidence, file: ArtifactResult) -> Figure:
    how = f"expected calibration error on the {HOLDOUT}, the file executed by {file.executed_by}; {BOUND}, over all signs of the bins"
    if isinstance(gaps := found.gaps(file), Unavailable):
        return Figure(gaps, how)
    value, bound = calibration_error(gaps, found.gate.confidence)
    return Figure(value, how, bound, len(gaps.counts))


def _tried(found: Evidence, file: ArtifactResult, field: str, rule: Tried) -> Check:
    how = f"whole {found.task.words.samples} of the {HOLDOUT}{_of(rule.where)} that the file answered"
    kept, of = found.kept(file.name, rule.of, HOLDOUT, rule.where), f"{rule.of}{_of(rule.where)}"
    if rule.min is not None:
        if isinstance(kept, Unavailable):
            figure = Figure(kept, how)
        else:
            value, bound = share_above(kept, found.gate.confidence)
            figure = Figure(value, f"{how}; the bound is Clopper and Pearson's", bound, len(kept))
        return check(rule, field, f"Answers, {of}", file.name, figure, rule.min, "at least", "share")
    assert rule.max_drop is not None
    expected = found.kept(found.gate.against, rule.of, HOLDOUT, rule.where)
    unknown = next((each for each in (expected, kept) if isinstance(each, Unavailable)), None)
    figure = Figure(unknown, how) if unknown is not None else _paired_drop(expected, kept, found.gate.confidence, how)
    title = f"Answers, {of}: drop against the {found.gate.against}"
    return check(rule, field, title, file.name, figure, rule.max_drop, "at most", "points")


def _paired_drop(expected: Any, kept: Any, confidence: float, how: str) -> Figure:
    value, bound = drop(expected, kept, confidence)
    return Figure(value, f"{how}, and the reference too; {BOUND}", bound, len(kept))


def _on_device(found: Evidence, file: ArtifactResult, field: str, rule: OnDevice) -> Iterator[Check]:
    """A check for each limit on a device."""
    measured = found.measured(file, rule.device)
    for name, limit in rule.limits.items():
        title, unit, read = FIGURES[name]
        if isinstance(measured, Unavailable):
            figure = Figure(measured, part=rule.device, how="under the protocol of `edgedistill bench --device`")
        else:
            value, bound, n = read(measured)
            figure = Figure(value, setup(measured), bound, n, rule.device)
        yield check(rule, f"{field}.{name}", title, file.name, figure, limit, "at most", unit)
