"""From a recipe that distils nothing to a quantized state: data, the trained student as it is, calibration, programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import tasks, threads
from edgedistill.files import canonical_hash, read_arrays
from edgedistill.progress import log
from edgedistill.records.steps import Programs, Trained
from edgedistill.run import Run, Step
from edgedistill.signature import Signature
from edgedistill.steps import programs, rehearsal
from edgedistill.steps.declared import MADE_WITH
from edgedistill.steps.distill import float_rungs, prepared_data
from edgedistill.tasks.data import spread
from edgedistill.verify.stored import RUNGS

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.quantize.state import QuantizedState
    from edgedistill.recipe.loading import LoadedRecipe
    from edgedistill.recipe.schema import Recipe
    from edgedistill.tasks.data import DataFacts, Dataset

_FEW_STEPS = 4.0
_BATCH = 32


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
        _warn_where_outputs_are_constant(folder / RUNGS / "student", quantized.output_scale)
        return record.model_copy(update={"temperature": {"student": 1.0, "int8": 1.0}})

    programs.step(run, [student["sha256"], student["signature"], recipe.quantize.model_dump()], ["student"], work)


def calibration_samples(recipe: Recipe, data: Dataset) -> np.ndarray:
    """Numbers of the training samples that show ranges of activations, spread evenly."""
    train = data.indices["train"]
    shown = train[spread(len(train), recipe.quantize.calibration)]
    log(f"calibrating on {len(shown)} {tasks.task(recipe.task).words.samples}")
    return shown


def calibrated(student: nn.Module, recipe: Recipe, data: Dataset, signature: Signature, way: str, *, batched: bool) -> QuantizedState:
    """The quantized state of a trained `student`, with ranges from the recipe's number of training samples.

    way: one of `after_training.WAYS`. batched: whether it takes several samples at once.
    """
    from edgedistill.quantize.after_training import quantized
    from edgedistill.quantize.scheme import traceable
    from edgedistill.tasks.modules import batches, in_order

    shown, size = calibration_samples(recipe, data), _BATCH if batched else 1
    ordered = in_order(batches(data, shown, size), signature.forward)
    counted = calibration_threads(recipe, data, student, signature, shown[:size])
    with traceable(recipe.student.label), threads.using(counted):
        return quantized(student, signature, ordered, way, any_batch=batched)


def calibration_threads(recipe: Recipe, data: Dataset, student: nn.Module, signature: Signature, first: np.ndarray) -> int:
    """Threads for what runs `student`, timed on the samples `first`."""
    import torch

    from edgedistill.tasks.modules import forward

    inputs = data.batch(first, None).inputs

    def probe() -> None:
        with torch.no_grad():
            forward(student, inputs, signature.forward)

    return threads.chosen("calibration", probe, asked=recipe.threads)


def _identity(recipe: Recipe) -> str:
    """Changes with whatever makes the student another one."""
    from edgedistill.files import sha256_file
    from edgedistill.recipe.models import files_of
    from edgedistill.tasks.code import code_hash

    config, prepared = recipe.student, tasks.task(recipe.task).parts().prepared
    code = code_hash(config.torch) if hasattr(config, "torch") else None
    weights = [sha256_file(path) for path in files_of(config)]
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
