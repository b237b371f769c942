"""From a recipe that distils nothing to a quantized state: data, the trained student as it is, calibration, programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import tasks
from edgedistill.files import canonical_hash, read_arrays
from edgedistill.progress import log
from edgedistill.records.steps import Programs, Trained
from edgedistill.run import Run, Step
from edgedistill.signature import Signature
from edgedistill.steps import programs, rehearsal
from edgedistill.steps.calibrate import calibrated
from edgedistill.steps.declared import MADE_WITH
from edgedistill.steps.distill import float_rungs, prepared_data
from edgedistill.verify.stored import RUNGS

if TYPE_CHECKING:
    from edgedistill.recipe.loading import LoadedRecipe
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.data import DataFacts

_FEW_STEPS = 4.0


def quantize(run: Run, loaded: LoadedRecipe) -> None:
    """Steps data, student and programs."""
    recipe = loaded.recipe
    rehearsal.check_names(loaded)
    prepared_data(run, loaded)
    data = tasks.task(recipe.task).dataset(recipe, run.work("data"))
    step = Step("student", _identity(recipe), reads=("work/data",), noted=MADE_WITH)
    student = run.step(step, lambda _: _examined(recipe, data.facts))
    signature, batched = Signature.model_validate(student["signature"]), student.get("batched", tasks.task(recipe.task).batched(recipe))

    def work(folder: Path) -> Programs:
        rungs = float_rungs(run, recipe, data.facts)
        quantized = calibrated(rungs["student"], recipe, data, signature, recipe.quantize.after_training, batched=batched)
        record = programs.save(quantized, rungs, {}, data, signature, folder, recipe=recipe, batched=batched)
        if quantized is not None:
            _warn_where_outputs_are_constant(folder / RUNGS / "student", quantized.output_scale)
        return record.model_copy(update={"temperature": {"student": 1.0, "int8": 1.0}})

    programs.step(run, [student["sha256"], student["signature"], recipe.quantize.model_dump()], ["student"], work)


def _identity(recipe: Recipe) -> str:
    """Changes with whatever makes the student another one."""
    from edgedistill.files import sha256_file
    from edgedistill.recipe.models import files_of
    from edgedistill.steps.teach import folder_facts
    from edgedistill.tasks.code import code_hash

    config, prepared = recipe.student, tasks.task(recipe.task).parts().prepared
    code = code_hash(config.torch) if hasattr(config, "torch") else None
    weights = [sha256_file(path) for path in files_of(config)] + folder_facts(getattr(config, "hf", ""))
    data = recipe.data.model_dump(mode="json", exclude=set(prepared))
    return canonical_hash([config.model_dump(mode="json"), code, weights, data, recipe.seed])


def _examined(recipe: Recipe, facts: DataFacts) -> Trained:
    """What the student is, with its signature; UserError unless it fits the task and the data."""
    from edgedistill.distill import stages
    from edgedistill.tasks.modules import takes_several

    task = tasks.task(recipe.task)
    module = task.build(recipe.student, recipe, facts)
    signature, core = task.examined(module, recipe, facts), task.core(module)
    batched = task.batched(recipe) and takes_several(module, signature.forward)
    return Trained(curve=[], signature=signature, batched=batched, sha256=stages.weights_hash(core), **stages.size_of(core))


def _warn_where_outputs_are_constant(outputs: Path, output_scale: Mapping[str, float]) -> None:
    arrays = read_arrays(outputs)
    for name, scale in output_scale.items():
        steps = float(arrays[name].std(axis=0).max()) / scale
        if steps < _FEW_STEPS:
            log(f"warning: {name} moves by {steps:.1f} int8 steps between samples: an untrained model? Verification then says little")
