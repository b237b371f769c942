"""From a recipe to a quantized state: data, teacher, signals, control, student, quantization-aware training, programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill import processes, tasks
from edgedistill.files import canonical_hash, read_arrays, sha256_file, write_arrays, write_json
from edgedistill.progress import log
from edgedistill.recipe.models import files_of
from edgedistill.records.steps import Programs
from edgedistill.run import Run, Step
from edgedistill.steps import rehearsal, teach, teaching_set
from edgedistill.steps.calibrate import calibrated
from edgedistill.steps.declared import MADE_WITH
from edgedistill.verify.stored import FOUR_BITS, RUNGS

if TYPE_CHECKING:
    from torch import nn

    from edgedistill.distill.lesson import Lesson
    from edgedistill.quantize.state import QuantizedState
    from edgedistill.recipe.loading import LoadedRecipe
    from edgedistill.recipe.schema import Recipe
    from edgedistill.recipe.stages import QatStage
    from edgedistill.tasks.data import DataFacts


@dataclass(frozen=True)
class Ready:
    """What is there once the teachers of a run are: the samples, and the hash of each teacher. `common` is what all training depends on."""

    lesson: Lesson
    common: dict[str, Any]
    hashes: list[str]


def teachers_ready(run: Run, loaded: LoadedRecipe) -> Ready:
    """Steps data, rehearsal, and one for each teacher."""
    recipe, effective = loaded.recipe, loaded.effective()
    rehearsal.check_names(loaded)
    facts = prepared_data(run, loaded)

    from edgedistill.distill.lesson import Lesson

    task = tasks.task(recipe.task)
    data = task.dataset(recipe, run.work("data"))
    rehearsal.step(run, loaded, data)
    signature = task.signature(recipe, data.facts)
    weights = recipe.data.weights
    lesson = Lesson(task, signature, data, recipe.data.views, recipe.data.batch_size, recipe.seed, weights=weights)
    alone = replace(lesson, with_targets_only=True)
    later = {key: value for key, value in effective["data"].items() if key not in task.parts().prepared}
    common = {"data": facts["sha256"], "seed": recipe.seed, **later} | ({"weights": weights} if weights else {})
    return Ready(lesson, common, teach.train_teachers(run, recipe, alone, common))


def train(run: Run, loaded: LoadedRecipe, runs_dir: Path) -> None:
    """Steps data, teacher, signals, control, student, qat where the recipe has it, and programs."""
    ready = teachers_ready(run, loaded)

    from edgedistill.distill import stages

    recipe, effective = loaded.recipe, loaded.effective()
    lesson, common, hashes, task, data = ready.lesson, ready.common, ready.hashes, ready.lesson.task, ready.lesson.data
    alone = replace(lesson, with_targets_only=True)
    learned = teach.answered(run, recipe, data, hashes, runs_dir / ".cache" / "answers")
    teaching_set.note(run, recipe, effective, data, learned, hashes)
    lesson = replace(lesson, data=learned)
    # The control learns the data as they are, in as many steps.
    alone = replace(alone, size=lesson.samples)
    signals, key = teach.teach(run, recipe, lesson, hashes, learned.facts.sha256, runs_dir / ".cache" / "signals")
    taught = replace(lesson, signals=signals, answers=read_arrays(run.work("teaching", "val")))
    floats = [
        effective["student"],
        [sha256_file(path) for path in files_of(recipe.student)],
        [effective["distill"][k] for k in ("schedule", "weight_decay", "beta2", "ema", "accumulate", "precision", "patience")],
        *([origin, teach.folder_facts(origin)] for origin in task.origins(recipe)),
    ]
    qat, plan = recipe.learning.qat, effective["distill"]["stages"]
    floating = plan[: len(recipe.learning.floating)]
    lengths = [*([s["name"], s["epochs"], s["lr"], s["online"]] for s in floating), *([alone.size] if learned is not data else [])]
    if recipe.learning.control:
        step = Step("control", [common, floats, lengths], version=2, noted=MADE_WITH)
        run.step(step, lambda f: stages.train_float(recipe, alone, f, distilled=False), together=True)
    step = Step("student", [common, key, floats, floating], version=2, noted=MADE_WITH)
    student = run.step(step, lambda f: stages.train_float(recipe, taught, f, distilled=True), together=True)

    quantized = _train_quantized(run, recipe, taught, qat, [common, key, student["sha256"], plan[-1], floats]) if qat else None
    processes.part()
    if processes.is_main():
        _programs(run, recipe, lesson, quantized)


def _train_quantized(run: Run, recipe: Recipe, lesson: Lesson, qat: QatStage, inputs: list[Any]) -> Callable[[], nn.Module]:
    """The step `qat`; returns what gives the student as it was trained: preparing takes seconds, and training has often done it."""
    from edgedistill.distill import stages

    @functools.cache
    def prepared() -> nn.Module:
        student = lesson.task.build(recipe.student, recipe, lesson.data.facts, stages.trained(run.work("student")))
        if qat.precision == "int8":
            return stages.prepared(student, lesson.signature, recipe, qat)
        return stages.prepared_on_grid(student, lesson, recipe, qat)

    before = sum(stage.epochs for stage in recipe.learning.floating)
    step = Step("qat", inputs, noted=(*MADE_WITH, "torchao"))
    run.step(step, lambda folder: stages.train_quantized(recipe, lesson, prepared(), qat, folder, before), together=True)
    return lambda: stages.restored(prepared(), run.work("qat"))


def prepared_data(run: Run, loaded: LoadedRecipe) -> dict[str, Any]:
    """Note the recipe in recipe.json, and do the step `data`; its result."""
    recipe, effective = loaded.recipe, loaded.effective()
    task = tasks.task(recipe.task)
    source = task.source(recipe)
    record = {"path": loaded.path, "sha256": loaded.sha256, "command": loaded.command, "effective": effective}
    if processes.is_main():
        write_json(run.path("recipe.json"), record | {"effective_sha256": canonical_hash(effective)})
    # Where the samples come from is in the fingerprint; how they are divided and prepared is not.
    elsewhere = {"source", "sets", "holdout"}
    how = {key: effective["data"][key] for key in sorted(task.parts().prepared - elsewhere)}
    members = [[member.name, member.fractions] for member in recipe.data.members]
    inputs = [how, source.fingerprint, recipe.seed, *([members] if len(members) > 1 else [])]
    step = Step("data", inputs, version=task.data_version, noted=("pillow", "numpy"))

    def work(folder: Path) -> dict[str, Any]:
        mode: Any = getattr(recipe.data, "leakage", "off")
        if mode == "off":
            return source.prepare(folder, recipe.seed).model_dump()
        from edgedistill.teach.leakage.watch import SplitWatch

        watch = SplitWatch(mode, (task.words.sample, task.words.samples))
        facts = source.prepare(folder, recipe.seed, watch=watch)  # type: ignore[call-arg]
        # After the samples were hashed, since what is found changes none of them.
        watch.record.write(folder / "leakage.json")
        return facts.model_dump()

    facts = run.step(step, work)
    teaching_set.check(run, recipe, task.dataset(recipe, run.work("data")))
    return facts


def _programs(run: Run, recipe: Recipe, lesson: Lesson, trained: Callable[[], nn.Module] | None) -> None:
    """Bring the trained student to its quantized state, save the programs, and score the rungs of PyTorch on val.

    trained: gives the student of the stage qat; without it the state is calibrated.
    """
    from edgedistill.distill import stages
    from edgedistill.distill.temperature_scaling import Tempered
    from edgedistill.export.programs import save_program
    from edgedistill.quantize.qat import QATModule
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.quantize.scheme import traceable
    from edgedistill.quantize.state import convert
    from edgedistill.steps import programs

    task, plan, facts = lesson.task, recipe.learning, lesson.data.facts

    def work(folder: Path) -> Programs:
        rungs = float_rungs(run, recipe, facts)
        fitted = _temperature(rungs["student"], lesson) if plan.calibrate else 1.0
        if fitted != 1 and not task.divide(rungs["student"], fitted):
            fitted = 1.0
        simulated: dict[str, nn.Module] = {}
        module = None if trained is None else trained()
        quantized: QuantizedState | None
        if isinstance(module, QATModule):
            quantized = convert(module.graph_module, lesson.signature, _temperature(module, lesson) if plan.calibrate else 1.0)
            temperature = {"student": fitted, "int8": quantized.temperature}
            simulated["fake_quant"] = module if quantized.temperature == 1 else Tempered(module, quantized.temperature)
        else:
            quantized = calibrated(rungs["student"], recipe, lesson.data, lesson.signature, recipe.quantize.after_training, batched=True)
            temperature = {"student": fitted} if quantized is None else {"student": fitted, "int8": fitted}
        if module is not None and plan.qat is not None and not isinstance(module, QATModule):
            simulated["fake_quant"], temperature[plan.qat.precision] = _saved_in_float(module, recipe, plan.qat, lesson, folder)
        if any(value != 1 for value in temperature.values()):
            divided = " and ".join(f"{value:.2f} ({'fp32' if name == 'student' else name})" for name, value in temperature.items())
            log(f"outputs are divided by {divided}, fitted on val")
        write_arrays(folder / RUNGS / "teacher", read_arrays(run.work("teaching", "val")))
        if getattr(recipe.teacher, "lowered", False):
            teacher = task.build(recipe.teacher, recipe, facts, stages.trained(run.work("teacher")))
            with traceable(recipe.teacher.label):
                held, deployed = task.deployed(teacher, lesson.signature)
                save_program(plain_batchnorm(held), deployed, folder / "teacher-float.pt2", sizes=facts.sizes)
        record = programs.save(quantized, rungs, simulated, lesson.data, lesson.signature, folder, recipe=recipe)
        # The state is all that files are made of.
        if (program := folder / Path(FOUR_BITS).name).exists():
            record = record.model_copy(update={"sha256": canonical_hash([record.sha256, sha256_file(program)])})
        return record.model_copy(update={"temperature": temperature})

    models = [*recipe.teacher_steps, "teaching", "student", *(["qat"] if trained else []), *(["control"] if plan.control else [])]
    teachers = [run.made(step)["sha256"] for step in recipe.teacher_steps]
    after = [] if plan.qat and plan.qat.precision == "int8" else [recipe.quantize.after_training, recipe.quantize.calibration]
    programs.step(run, [teachers, plan.calibrate, recipe.quantize.mixed, *after], models, work)


def _saved_in_float(module: nn.Module, recipe: Recipe, stage: QatStage, lesson: Lesson, folder: Path) -> tuple[nn.Module, float]:
    """Save the float weights that the stage qat trained for 4 bits as a program; gives the rung with fake quantization that ships.

    With it comes the temperature that its outputs were divided by.
    """
    from edgedistill.distill import stages
    from edgedistill.export.programs import save_program
    from edgedistill.quantize.qat_grid import stripped
    from edgedistill.quantize.rewrite import plain_batchnorm

    task = lesson.task
    fitted = _temperature(module, lesson) if recipe.learning.calibrate else 1.0
    floating = stripped(module)
    if fitted != 1 and not task.divide(floating, fitted):
        fitted = 1.0
    held, deployed = task.deployed(floating, lesson.signature)
    save_program(plain_batchnorm(held), deployed, folder / Path(FOUR_BITS).name, sizes=lesson.data.facts.sizes)
    return stages.prepared_on_grid(floating, lesson, recipe, stage), fitted


def _temperature(model: nn.Module, lesson: Lesson) -> float:
    from edgedistill.tasks.modules import predict_samples

    val = lesson.data.indices["val"]
    outputs = predict_samples(model, lesson.data, val, lesson.signature.forward)
    return lesson.task.temperature(outputs, lesson.data.targets(val))


def float_rungs(run: Run, recipe: Recipe, facts: DataFacts) -> dict[str, nn.Module]:
    """The control, where there is one, and the student in floating point, as trained; in evaluation mode."""
    from edgedistill.distill import stages

    task = tasks.task(recipe.task)
    names = [*(["control"] if recipe.distill is not None and recipe.distill.control else []), "student"]
    return {name: task.build(recipe.student, recipe, facts, stages.trained(run.work(name))) for name in names}


def shipped_rungs(run: Run, recipe: Recipe, facts: DataFacts) -> dict[str, nn.Module]:
    """`float_rungs`, with the student as it is exported: its outputs divided by the temperature that was fitted."""
    rungs = float_rungs(run, recipe, facts)
    if (temperature := run.made("programs")["temperature"]["student"]) != 1:
        tasks.task(recipe.task).divide(rungs["student"], temperature)
    return rungs
