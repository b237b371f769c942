"""From a recipe to a quantized state: data, teacher, signals, control, student, quantization-aware training, programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill import processes
from edgedistill.files import canonical_hash, write_json
from edgedistill.progress import log
from edgedistill.run import Run, Step
from edgedistill.steps import teach
from edgedistill.steps.declared import MADE_WITH

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.quantize.qat import QATModule
    from edgedistill.recipe.loading import LoadedRecipe
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.image_classification.imageset import ImageSet
    from edgedistill.tasks.image_classification.preprocessed import Preprocessed


def train(run: Run, loaded: LoadedRecipe, runs_dir: Path) -> None:
    """Steps data, teacher, signals, control, student, qat and programs."""
    recipe, effective = loaded.recipe, loaded.effective()
    facts = prepared_data(run, loaded)

    from edgedistill.distill import stages
    from edgedistill.distill.lesson import Lesson
    from edgedistill.tasks.image_classification import imageset
    from edgedistill.tasks.image_classification.views import Views

    images, classes = imageset.load(run.work("data")), len(facts["classes"])
    views = Views(images.images, recipe.data.augment, recipe.seed)
    lesson = Lesson(images, views, recipe.data.views, recipe.data.batch_size, recipe.seed)
    labelled = replace(lesson, labelled_only=True)
    common = {
        "data": facts["sha256"],
        "seed": recipe.seed,
        **{k: effective["data"][k] for k in ("augment", "views", "batch_size", "mean", "std")},
    }
    hashes = teach.train_teachers(run, recipe, labelled, common)
    signals, key = teach.teach(run, recipe, lesson, hashes, facts, runs_dir / ".cache" / "signals")
    taught = replace(lesson, signals=signals)
    floats = [
        effective["student"],
        _file_hash(recipe.student.checkpoint),
        [effective["distill"][k] for k in ("weight_decay", "ema", "accumulate", "precision", "patience")],
    ]
    plan = effective["distill"]["stages"]
    lengths = [[s["name"], s["epochs"], s["lr"], s["online"]] for s in plan[:-1]]
    if recipe.learning.control:
        step = Step("control", [common, floats, lengths], noted=MADE_WITH)
        run.step(step, lambda f: stages.train_float(recipe, labelled, f, distilled=False), together=True)
    step = Step("student", [common, key, floats, plan[:-1]], noted=MADE_WITH)
    student = run.step(step, lambda f: stages.train_float(recipe, taught, f, distilled=True), together=True)

    @functools.cache
    def prepared() -> QATModule:
        return stages.prepared(recipe, stages.student_of(recipe, classes, run.work("student")), classes)

    before = sum(s.epochs for s in recipe.learning.stages[:-1])
    step = Step("qat", [common, key, student["sha256"], plan[-1], floats], noted=(*MADE_WITH, "torchao"))
    run.step(step, lambda f: stages.train_quantized(recipe, taught, prepared(), f, before), together=True)
    processes.part()
    if processes.is_main():
        _programs(run, recipe, images, prepared)


def prepared_data(run: Run, loaded: LoadedRecipe) -> dict[str, Any]:
    """Note the recipe in recipe.json, and do the step `data`; its result."""
    from edgedistill.tasks.image_classification import listing

    recipe, effective = loaded.recipe, loaded.effective()
    found = listing.listing(recipe.data)
    record = {"path": loaded.path, "sha256": loaded.sha256, "command": loaded.command, "effective": effective}
    if processes.is_main():
        write_json(run.path("recipe.json"), record | {"effective_sha256": canonical_hash(effective)})
    inputs = [{key: effective["data"][key] for key in ("image_size", "split")}, listing.fingerprint(found, recipe.data), recipe.seed]
    return run.step(
        Step("data", inputs, noted=("pillow", "numpy")), lambda folder: listing.prepare(found, recipe.data, recipe.seed, folder)
    )


def _file_hash(path: Path | None) -> str | None:
    from edgedistill.files import sha256_file

    return None if path is None else sha256_file(path)


def _programs(run: Run, recipe: Recipe, images: ImageSet, prepared: Callable[[], QATModule]) -> None:
    """Convert the trained student into its quantized state, save the programs, and score the rungs of PyTorch on val.

    prepared: gives the student with fake quantization in it; preparing takes seconds, and training has often done it.
    """
    import numpy as np

    from edgedistill.distill import stages
    from edgedistill.distill.temperature_scaling import Tempered
    from edgedistill.export.programs import save_program
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.quantize.state import convert
    from edgedistill.quantize.temperature import divide_classifier
    from edgedistill.recipe.teachers import TimmTeacher
    from edgedistill.steps import programs
    from edgedistill.tasks.image_classification.models import signature

    size, plan = recipe.data.image_size, recipe.learning

    def work(folder: Path) -> dict[str, Any]:
        rungs = float_rungs(run, recipe, len(images.classes))
        module = stages.restored(prepared(), run.work("qat"))
        fitted = {"student": 1.0, "int8": 1.0}
        if plan.calibrate:
            fitted = {name: _temperature(model, images) for name, model in (("student", rungs["student"]), ("int8", module))}
        if not divide_classifier(rungs["student"].model, fitted["student"]):
            fitted["student"] = 1.0
        quantized = convert(module.graph_module, signature(size, len(images.classes)), fitted["int8"])
        temperature = fitted | {"int8": quantized.temperature}
        log(f"logits are divided by {temperature['student']:.2f} (fp32) and {temperature['int8']:.2f} (int8), fitted on val")
        np.save(folder / "teacher.npy", np.load(run.work("teaching", "val.npy")))
        if isinstance(recipe.teacher, TimmTeacher):
            teacher = stages.teacher_of(recipe.teacher, recipe, images.classes, run.work("teacher"))
            save_program(plain_batchnorm(teacher), signature(size, len(images.classes)), folder / "teacher-float.pt2")
        simulated = {"fake_quant": Tempered(module, quantized.temperature)}
        return programs.save(quantized, rungs, simulated, images, folder, mixed=recipe.quantize.mixed) | {"temperature": temperature}

    trained = [*recipe.teacher_steps, "teaching", "student", "qat", *(["control"] if plan.control else [])]
    teachers = [run.result(step)["sha256"] for step in recipe.teacher_steps]
    programs.step(run, [teachers, plan.calibrate, recipe.quantize.mixed], trained, work)


def _temperature(model: nn.Module, images: ImageSet) -> float:
    from edgedistill.distill.temperature_scaling import fit_temperature
    from edgedistill.tasks.image_classification.models import predict

    val = images.indices["val"]
    return fit_temperature(predict(model, images.images[val]), images.labels[val])


def float_rungs(run: Run, recipe: Recipe, classes: int) -> dict[str, Preprocessed]:
    """The control, where there is one, and the student in floating point, as trained; in evaluation mode."""
    from edgedistill.distill import stages

    if recipe.distill is None:
        return {"student": stages.student_of(recipe, classes)}
    names = [*(["control"] if recipe.distill.control else []), "student"]
    return {name: stages.student_of(recipe, classes, run.work(name)) for name in names}


def shipped_rungs(run: Run, recipe: Recipe, classes: int) -> dict[str, Preprocessed]:
    """`float_rungs`, with the student as it is exported: its logits divided by the temperature that was fitted."""
    from edgedistill.quantize.temperature import divide_classifier

    rungs = float_rungs(run, recipe, classes)
    if (temperature := run.result("programs")["temperature"]["student"]) != 1:
        divide_classifier(rungs["student"].model, temperature)
    return rungs
