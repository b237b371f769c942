"""The teachers of a run: each is trained or taken as it is, asked once, and merged with the others."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedistill import processes
from edgedistill.files import canonical_hash, replacing, sha256_file
from edgedistill.run import Run, Step
from edgedistill.steps.declared import MADE_WITH

if TYPE_CHECKING:
    from edgedistill.distill.lesson import Lesson
    from edgedistill.distill.stages import Member
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.image_classification.imageset import ImageSet
    from edgedistill.tasks.image_classification.merge import Merger
    from edgedistill.teach.signals import TeacherSignals
    from edgedistill.teach.teachers import Outputs, Teacher

_UNSURE = 0.5


@dataclass(frozen=True)
class Faculty:
    """The teachers of a run, ready to be asked. make: gives a member for the signals that are wanted of it."""

    members: list[Member]
    outputs: list[Outputs]
    make: Callable[[int, list[str]], Teacher]
    merger: Merger | None

    def logits(self, data: ImageSet, split: str, batch_size: int = 64) -> list[np.ndarray]:
        """Each member's logits [N, C] of the images of a split."""
        from edgedistill.tasks.image_classification.models import to_unit

        images, found = data.images[data.indices[split]], []
        for number in range(len(self.members)):
            teacher = self.make(number, ["logits"])
            parts = [teacher(to_unit(images[start : start + batch_size]))["logits"] for start in range(0, len(images), batch_size)]
            found.append(np.concatenate([part.cpu().numpy() for part in parts]))
        return found

    def merged(self, logits: list[np.ndarray], indices: np.ndarray) -> np.ndarray:
        """One answer [B, C] of the members' to the samples `indices`."""
        return logits[0] if self.merger is None else self.merger(logits, indices)


def faculty_of(run: Run, recipe: Recipe, data: ImageSet) -> Faculty:
    """The teachers of a run whose steps are done, merged as the step `teaching` found out."""
    from edgedistill.distill.stages import teacher_of
    from edgedistill.recipe.teachers import FileTeacher, SeveralTeachers
    from edgedistill.tasks.image_classification.merge import Merger, check_known
    from edgedistill.teach.teachers import FileRunner, ModuleTeacher, Outputs

    members = recipe.members
    outputs = [Outputs(member.name, _names(member, data.classes), data.classes) for member in members]

    def make(number: int, signals: list[str]) -> Teacher:
        member = members[number]
        if isinstance(member, FileTeacher):
            return FileRunner(member, outputs[number])
        return ModuleTeacher(teacher_of(member, recipe, data.classes, run.work(recipe.teacher_steps[number])), signals, outputs[number])

    known = np.stack([o.known for o in outputs])
    check_known(known, data.classes)
    merger = None
    if isinstance(recipe.teacher, SeveralTeachers):
        merger = Merger(recipe.teacher.merge, [m.name for m in members], known, data.fields)
        path = run.work("teaching", "weights.npy")
        if path.exists():
            merger.weights = np.load(path)
    return Faculty(members, outputs, make, merger)


def _names(member: Member, classes: list[str]) -> list[str] | None:
    from edgedistill.recipe.teachers import HuggingFaceTeacher
    from edgedistill.tasks.image_classification import huggingface

    if member.classes is None and isinstance(member, HuggingFaceTeacher):
        return huggingface.names(member, classes)
    return member.classes


def train_teachers(run: Run, recipe: Recipe, lesson: Lesson, common: Any) -> list[str]:
    """A step for each teacher; returns the hash of each."""
    from edgedistill.distill.stages import train_teacher
    from edgedistill.recipe.teachers import FileTeacher, TorchTeacher
    from edgedistill.teach.teachers import code_hash

    hashes = []
    for member, name in zip(recipe.members, recipe.teacher_steps, strict=True):
        paths = [path for key in ("checkpoint", "file") if (path := getattr(member, key, None)) is not None]
        about = None if isinstance(member, FileTeacher) else common
        code = code_hash(member) if isinstance(member, TorchTeacher) else None
        inputs = [
            about,
            member.model_dump(mode="json"),
            [sha256_file(path) for path in paths] + _folder_facts(getattr(member, "hf", "")),
            code,
            len(lesson.data.classes),
            recipe.learning.precision if getattr(member, "train", None) else None,
        ]
        step = Step(name, inputs, noted=MADE_WITH)
        result = run.step(step, functools.partial(train_teacher, member, recipe, lesson), together=True)
        hashes.append(canonical_hash([result["sha256"], code]))
    return hashes


def _folder_facts(reference: str) -> list[Any]:
    """Name, size and time of each file of a model's folder; nothing for a name on the hub."""
    files = sorted(path for path in Path(reference).rglob("*") if path.is_file()) if reference and Path(reference).is_dir() else []
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]


def teach(
    run: Run, recipe: Recipe, lesson: Lesson, hashes: list[str], data_facts: dict[str, Any], root: Path
) -> tuple[TeacherSignals, str]:
    """The teachers' signals for the recipe's stages, and a key that changes with what they say.

    root: folder of the caches, which runs share.
    """
    from edgedistill.teach.cache import CachedSignals, cache_folder, compute
    from edgedistill.teach.signals import TeacherSignals

    data, plan = lesson.data, recipe.learning
    effective = recipe.model_dump(mode="json")
    seen = {"data": data_facts["sha256"], "augment": effective["data"]["augment"], "seed": recipe.seed}
    seen["preprocessing"] = {key: effective["data"][key] for key in ("image_size", "mean", "std")}
    key = canonical_hash([hashes, effective["teacher"], seen, effective["distill"]["cache"]])
    faculty = faculty_of(run, recipe, data)
    val = data.indices["val"]

    def meet(folder: Path) -> dict[str, Any]:
        from edgedistill.tasks.image_classification.merge import disagreement

        logits = faculty.logits(data, "val")
        if faculty.merger is not None:
            faculty.merger.learn(logits, data.labels[val])
            np.save(folder / "weights.npy", faculty.merger.weights)
        np.save(folder / "val.npy", faculty.merged(logits, val))
        names = [member.name for member in faculty.members]
        right = {n: float((x.argmax(axis=1) == data.labels[val]).mean()) for n, x in zip(names, logits, strict=True)}
        merge = {} if faculty.merger is None else faculty.merger.facts()
        return {"val_accuracy": right, "disagreement": disagreement(dict(zip(names, logits, strict=True))), **merge}

    run.step(Step("teaching", [key, recipe.seed], noted=MADE_WITH), meet)
    if faculty.merger is not None:
        faculty.merger.weights = np.load(run.work("teaching", "weights.npy"))
    offline = [stage for stage in plan.stages if stage.losses.needs and not getattr(stage, "online", False)]
    wanted = frozenset().union(*(stage.losses.needs for stage in plan.stages))
    caches: list[CachedSignals] = []
    if offline:
        asked = frozenset().union(*(stage.losses.needs for stage in offline))
        for number, member in enumerate(faculty.members):
            facts = {"teacher": hashes[number], "outputs": faculty.outputs[number].names, "input": _input(member), **seen}
            options: dict[str, Any] = {"signals": asked, "count": recipe.data.views, "folder": cache_folder(root, facts)}
            options |= {"options": plan.cache, "batch_size": recipe.data.batch_size}
            with processes.main_first():
                caches.append(compute(functools.partial(faculty.make, number), facts, data, lesson.views, **options))
    online = [faculty.make(n, sorted(wanted)) for n in range(len(faculty.members))] if _any_online(recipe) else []
    signals = TeacherSignals(caches, online, faculty.merger)
    if caches and "logits" in caches[0].encodings:
        run.step(Step("teaching-set", [key, recipe.data.views]), lambda folder: _teaching_set(signals, data, folder))
    return signals, key


def _input(member: Member) -> dict[str, Any]:
    """What is done to images before a teacher sees them, beside the recipe's own normalisation."""
    return member.model_dump(mode="json", include={"layout", "input_size", "mean", "std"})


def _any_online(recipe: Recipe) -> bool:
    return any(getattr(stage, "online", False) and stage.losses.needs for stage in recipe.learning.stages)


def _teaching_set(signals: TeacherSignals, data: ImageSet, folder: Path) -> dict[str, Any]:
    """Count what is taught, and list in teaching-set.csv where the teacher is unsure or contradicts the label; such samples stay in."""
    from scipy import special

    train = data.indices["train"]
    probabilities = special.softmax(signals.replayed(train, 0)["logits"].numpy().astype(np.float64), axis=1)
    labels, chosen, confidence = data.labels[train], probabilities.argmax(axis=1), probabilities.max(axis=1)
    unsure, contradicts = confidence < _UNSURE, (labels >= 0) & (chosen != labels)
    with replacing(folder / "teaching-set.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sample", "label", "teacher", "confidence", "unsure", "contradicts"])
        for row in np.flatnonzero(unsure | contradicts):
            label = data.classes[labels[row]] if labels[row] >= 0 else ""
            flags = [int(unsure[row]), int(contradicts[row])]
            writer.writerow([int(train[row]), label, data.classes[chosen[row]], f"{confidence[row]:.3f}", *flags])
    return {
        "samples": len(train), "labelled": int((labels >= 0).sum()), "views": 1 + max(view for _, view in signals.cached[0].arrays),
        "unsure": int(unsure.sum()), "contradicts": int(contradicts.sum()), "unsure_below": _UNSURE,
    }  # fmt: skip
