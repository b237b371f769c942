"""What is known of the files of a run when the gate decides: scores on the holdout, trials, and measurements on devices."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from edgedistill.errors import DamagedFile
from edgedistill.gate.review.pairs import Answers
from edgedistill.measure import store
from edgedistill.recipe.gate import Gate
from edgedistill.recipe.schema import Recipe
from edgedistill.records import ArtifactResult, Unavailable
from edgedistill.records.measurements import Measurement
from edgedistill.records.summary import Summary
from edgedistill.run import Run
from edgedistill.tasks.base import Arrays
from edgedistill.tasks.data import chosen
from edgedistill.tasks.intervals import Gaps
from edgedistill.tasks.sections import Trial
from edgedistill.verify import stored
from edgedistill.verify.scoring import Scorer

HOLDOUT = "holdout"


class Evidence:
    """Reads what the steps of a finished run left; it computes nothing of the models, and opens the holdout no further."""

    def __init__(self, run: Run, recipe: Recipe, gate: Gate, summary: Summary) -> None:
        self.run, self.gate, self.summary = run, gate, summary
        self.scorer = Scorer(run, recipe)
        self.task = self.scorer.task

    def changed(self, file: ArtifactResult) -> str | None:
        """How `file` is not the one that was verified; None where it is."""
        made = self.run.artifact(file.name)
        if made.sha256 != file.sha256:
            return "the file was lowered again since summary.json was written; go on with `edgedistill run` of the run's recipe"
        return self.run.changed(made)

    @cached_property
    def answers(self) -> Answers:
        """The answers of rungs and files to samples of val, as people compare them."""
        return Answers(self.run, self.scorer.recipe)

    @cached_property
    def slices(self) -> Arrays:
        """What divides the samples of the holdout, [N] by name."""
        return self.task.slices(self.scorer.data, self.scorer.data.indices[HOLDOUT])

    def paired(self, file: ArtifactResult) -> tuple[np.ndarray, np.ndarray, np.ndarray] | Unavailable:
        """Scores of the reference and of `file` on the same samples of the holdout, [n] each, and the places of these, int [n]."""
        reference = self.gate.against
        for name, step in ((reference, HOLDOUT), (file.name, f"{HOLDOUT}-{file.name}")):
            if isinstance(score := self.scorer.score_on(name, HOLDOUT), Unavailable):
                return score
            if why := self.stale(step):
                return Unavailable(unavailable=why)
        expected, given = self.scorer.scores(reference, HOLDOUT), self.scorer.scores(file.name, HOLDOUT)
        assert expected is not None
        assert given is not None
        places = self.scorer.places(file.name, HOLDOUT)
        places = np.arange(len(expected)) if places is None else places
        return expected[places], given, places

    def gaps(self, file: ArtifactResult) -> Gaps | Unavailable:
        """How far the confidence of `file` on the holdout is from what is right."""
        if isinstance(score := self.scorer.score_on(file.name, HOLDOUT), Unavailable):
            return score
        if why := self.stale(f"{HOLDOUT}-{file.name}"):
            return Unavailable(unavailable=why)
        found = self.scorer.gaps(file.name, HOLDOUT)
        if found is None:
            return Unavailable(unavailable=f"the task {self.task.name} has no calibration error")
        return found if np.isfinite(found.gaps).all() else Unavailable(unavailable="confidences are not finite")

    def kept(self, name: str, what: str, split: str, where: Mapping[str, str] | None = None) -> np.ndarray | Unavailable:
        """Whether each answer of the trial of a rung or file on a split keeps `what`, bool [n].

        where: values of fields that samples need to have; None judges all.
        """
        step = stored.trial(name, split)
        figures = self.run.result(step)
        if figures is None:
            return Unavailable(unavailable=f"{name} was not tried on whole {self.task.words.samples} of {split}")
        if why := figures.get("error") or figures.get("unavailable"):
            return Unavailable(unavailable=why)
        if why := self.stale(step):
            return Unavailable(unavailable=why)
        self.run.check(step)
        kept = self.task.kept(Trial(figures, self.run.work(step)))
        if what not in kept:
            return Unavailable(unavailable=f"trials tell {', '.join(kept) or 'nothing'}, and not {what}")
        if not where:
            return kept[what]
        rows = chosen(self.scorer.data, split, self.task.tried(self.scorer.recipe))
        chosen_ones = matching(self.task.slices(self.scorer.data, rows), where)
        return chosen_ones if isinstance(chosen_ones, Unavailable) else kept[what][chosen_ones]

    def measured(self, file: ArtifactResult, device: str) -> Measurement | Unavailable:
        """The newest measurement of the bytes of `file` on `device`, a spec or a model, that is valid."""
        every = [one for one in self._measurements if one.artifact.sha256 == file.sha256 and device in (one.device.spec, one.device.model)]
        if not every:
            return Unavailable(unavailable=f"not measured on {device}; run `edgedistill bench {self.run.shown} --device`")
        newest = max(every, key=lambda one: one.created)
        if newest.validity != "valid":
            # An older one that is valid would be a choice of the better figure.
            return Unavailable(unavailable=f"the newest measurement is {newest.validity}: {'; '.join(newest.reasons)}")
        return newest

    @cached_property
    def _measurements(self) -> list[Measurement]:
        """Those in the run, and those of the project in this folder."""
        kept = [one for one in self.summary.devices if isinstance(one, Measurement)]
        if not Path(store.PATH).is_file():
            return kept
        with store.opened() as project:
            return kept + [one for one in project.measurements(kind="bench") if isinstance(one, Measurement)]

    def stale(self, step: str) -> str | None:
        """Why the result of a step is of other files than the run has now; None where it is not."""
        begun = self.run.begun(step)
        try:
            changed = begun is None or any(self.run.content(path) != sha256 for path, sha256 in begun.reads.items())
        except DamagedFile as error:
            return str(error)
        return f"what {step} was made of has changed since; go on with `edgedistill run` of the run's recipe" if changed else None


def matching(slices: Arrays, where: Mapping[str, str]) -> np.ndarray | Unavailable:
    """Which samples have the values `where` of fields, bool [n]. slices: values of fields, [n] by name."""
    found = np.ones(len(next(iter(slices.values()), ())), bool)
    for name, value in where.items():
        if name not in slices:
            return Unavailable(unavailable=f"the data has no field {name}, expected one of: {', '.join(slices) or 'none'}")
        found &= slices[name].astype(str) == value
    said = ", ".join(f"{name} {value}" for name, value in where.items())
    return found if found.any() else Unavailable(unavailable=f"no sample has {said}")
