"""The teachers of a run: each is trained or taken as it is, asked once, and merged with the others."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill import processes, tasks, threads
from edgedistill.files import canonical_hash, sha256_file, write_arrays
from edgedistill.recipe.losses import OUTPUTS
from edgedistill.run import Run, Step
from edgedistill.steps.declared import MADE_WITH

if TYPE_CHECKING:
    from edgedistill.distill.lesson import Lesson
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.base import Merger, Teacher
    from edgedistill.tasks.data import Dataset
    from edgedistill.teach.signals import TeacherSignals


@dataclass(frozen=True)
class Faculty:
    """The teachers of a run, ready to be asked."""

    run: Run
    recipe: Recipe
    data: Dataset
    merger: Merger | None

    def teacher(self, number: int, signals: list[str]) -> Teacher:
        """A member that answers with `signals`."""
        from edgedistill.distill.stages import trained

        weights = trained(self.run.work(self.recipe.teacher_steps[number]))
        return tasks.task(self.recipe.task).teacher(self.recipe.members[number], self.recipe, self.data, weights, signals)

    def outputs(self, split: str) -> list[dict[str, np.ndarray]]:
        """Each member's outputs [n, ...] of the samples of a split, by name; none of a teacher that only writes."""
        from edgedistill.tasks.modules import BATCH, batches

        names = [spec.name for spec in tasks.task(self.recipe.task).signature(self.recipe, self.data.facts).outputs]
        answers = []
        for number, member in enumerate(self.recipe.members):
            if not tasks.task(self.recipe.task).tells(member, self.recipe):
                continue
            teacher, indices = self.teacher(number, names), self.data.indices[split]
            first = self.data.batch(indices[:BATCH], None).inputs
            ask = functools.partial(teacher, first)
            count = threads.chosen(f"{member.name} on {split}", ask, asked=self.recipe.threads)
            with threads.using(count):
                parts = [teacher(inputs) for inputs in batches(self.data, indices)]
            answers.append({name: np.concatenate([part[name].cpu().numpy() for part in parts]) for name in names})
        return answers

    def merged(self, answers: list[dict[str, np.ndarray]], indices: np.ndarray) -> dict[str, np.ndarray]:
        """One answer of the members' to the samples `indices`."""
        if not answers:
            return {}
        return answers[0] if self.merger is None else self.merger(answers, indices)


def faculty_of(run: Run, recipe: Recipe, data: Dataset) -> Faculty:
    """The teachers of a run whose steps are done, merged as the step `teaching` found out."""
    merger = tasks.task(recipe.task).merger(recipe, data)
    if merger is not None and run.result("teaching") is not None:
        merger.load(run.work("teaching"))
    return Faculty(run, recipe, data, merger)


def train_teachers(run: Run, recipe: Recipe, lesson: Lesson, common: Any) -> list[str]:
    """A step for each teacher; returns the hash of each."""
    from edgedistill.distill.stages import train_teacher
    from edgedistill.recipe.models import files_of
    from edgedistill.tasks.code import code_hash

    hashes = []
    for member, name in zip(recipe.members, recipe.teacher_steps, strict=True):
        about = None if member.is_file else common
        code = code_hash(member.torch) if hasattr(member, "torch") else None
        inputs = [
            about,
            member.model_dump(mode="json", exclude=set(member.asked)),
            [sha256_file(path) for path in files_of(member)] + folder_facts(getattr(member, "hf", "")),
            code,
            lesson.signature.model_dump(mode="json"),
            recipe.learning.precision if getattr(member, "train", None) else None,
        ]
        step = Step(name, inputs, noted=MADE_WITH)
        result = run.step(step, functools.partial(train_teacher, member, recipe, lesson), together=True)
        hashes.append(canonical_hash([result["sha256"], code]))
    return hashes


def folder_facts(reference: str) -> list[Any]:
    """Name, size and time of each file of a model's folder; nothing for a name on the hub."""
    files = sorted(path for path in Path(reference).rglob("*") if path.is_file()) if reference and Path(reference).is_dir() else []
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def answered(run: Run, recipe: Recipe, data: Dataset, hashes: list[str], cache: Path) -> Dataset:
    """The samples that the student learns: `data`, or those that the teacher answered in the step `answers`.

    hashes: of the teachers. cache: folder of the answers that were paid, which runs share.
    """
    task = tasks.task(recipe.task)
    if not task.asks(recipe):
        return data
    from edgedistill.distill.stages import trained

    config, weights = recipe.teacher.model_dump(mode="json"), trained(run.work(recipe.teacher_steps[0]))
    step = Step("answers", [hashes, config, data.facts.sha256], reads=("work/data",))
    with processes.main_first():
        run.step(step, lambda folder: task.write_answers(recipe, data, weights, hashes[0], folder, cache))
    return task.dataset(recipe, run.work("answers"))


def teach(run: Run, recipe: Recipe, lesson: Lesson, hashes: list[str], data_sha256: str, root: Path) -> tuple[TeacherSignals, str]:
    """The teachers' signals for the recipe's stages, and a key that changes with what they say.

    root: folder of the caches, which runs share.
    """
    from edgedistill.teach.cache import CachedSignals, cache_folder, compute
    from edgedistill.teach.signals import TeacherSignals

    data, plan, task = lesson.data, recipe.learning, lesson.task
    effective = recipe.model_dump(mode="json")
    facts = [signal_facts(*both, data_sha256, recipe, data) for both in zip(recipe.members, hashes, strict=True)]
    key = canonical_hash([facts, effective["teacher"], effective["distill"]["cache"]])
    faculty = faculty_of(run, recipe, data)
    val = data.indices["val"]

    def meet(folder: Path) -> dict[str, Any]:
        answers, targets = faculty.outputs("val"), data.targets(val)
        if faculty.merger is not None:
            faculty.merger.learn(answers, targets)
            faculty.merger.save(folder)
        write_arrays(folder / "val", faculty.merged(answers, val))
        names = [member.name for member in recipe.members if task.tells(member, recipe)]
        by_name = dict(zip(names, answers, strict=True))
        scores = {name: float(task.score(outputs, targets).mean()) if targets else None for name, outputs in by_name.items()}
        merge = {} if faculty.merger is None else faculty.merger.facts()
        return {"val": scores, "disagreement": task.disagreement(by_name), **merge}

    run.step(Step("teaching", [key, recipe.seed], noted=MADE_WITH), meet)
    if faculty.merger is not None:
        faculty.merger.load(run.work("teaching"))
    offline = [stage for stage in plan.stages if stage.losses.needs and not getattr(stage, "online", False)]
    outputs = frozenset(spec.name for spec in lesson.signature.outputs)
    signal_names = _signals(plan.stages, outputs)
    caches: list[CachedSignals] = []
    if offline:
        asked = _signals(offline, outputs)
        for number in range(len(recipe.members)):
            options: dict[str, Any] = {"signals": asked, "scores": lesson.signature.scores, "seed": recipe.seed}
            options["count"] = recipe.data.views
            options |= {"folder": cache_folder(root, facts[number]), "options": plan.cache, "batch_size": recipe.data.batch_size}
            options["threads"] = recipe.threads
            with processes.main_first():
                caches.append(compute(functools.partial(faculty.teacher, number), facts[number], data, **options))
    online = [faculty.teacher(n, sorted(signal_names)) for n in range(len(recipe.members))] if _any_online(recipe) else []
    signals = TeacherSignals(caches, online, faculty.merger)
    if caches and outputs <= caches[0].encodings.keys():
        step = Step("teaching-set", [key, recipe.data.views])
        run.step(step, lambda folder: _teaching_set(lesson, signals, recipe.data.views, folder))
    return signals, key


def signal_facts(member: Any, teacher: str, data_sha256: str, recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """All that the signals of a teacher of the hash `teacher` depend on: another of it asks the teacher anew."""
    return {"teacher": teacher, "data": data_sha256, "seen": tasks.task(recipe.task).seen(member, recipe, data.facts)}


def _signals(stages: Iterable[Any], outputs: frozenset[str]) -> frozenset[str]:
    """The signals of a teacher that the losses of `stages` compare with."""
    needs = frozenset().union(*(stage.losses.needs for stage in stages))
    return needs - {OUTPUTS} | outputs if OUTPUTS in needs else needs


def _any_online(recipe: Recipe) -> bool:
    return any(getattr(stage, "online", False) and stage.losses.needs for stage in recipe.learning.stages)


def _teaching_set(lesson: Lesson, signals: TeacherSignals, views: int, folder: Path) -> dict[str, Any]:
    """What the task says of the answers to view 0 of the training samples."""

    def answers(indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values.numpy() for name, values in signals.replayed(indices, 0).items()}

    return {**lesson.task.teaching_set(answers, lesson.data, folder), "views": views}
