"""The steps that score the holdout, and try whole samples of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import tasks
from edgedistill.gate import openings
from edgedistill.progress import log
from edgedistill.run import Run, Step
from edgedistill.steps import trials
from edgedistill.steps.declared import program_files
from edgedistill.steps.distill import shipped_rungs
from edgedistill.steps.execute import execute
from edgedistill.verify import stored
from edgedistill.verify.stored import RUNGS, SAMPLES

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec


def score(run: Run, recipe: Recipe, specs: list[ArtifactSpec]) -> None:
    """Score every rung on the holdout, once and last: nothing before this line reads it, and of what follows the gate alone decides by it.

    Each opening is logged in the folder of the runs, also where only a file is executed anew.
    """
    from edgedistill.export.programs import load_signature
    from edgedistill.files import write_arrays
    from edgedistill.steps.teach import faculty_of
    from edgedistill.verify import rungs
    from edgedistill.verify.scoring import has_holdout

    task = tasks.task(recipe.task)
    data = task.dataset(recipe, run.work("data"))
    holdout = data.indices["holdout"]
    if not has_holdout(task, data):
        return

    opens = openings.once(run, recipe)

    def work(folder: Path) -> None:
        opens()
        log(f"scoring the holdout of {len(holdout)} {task.words.samples}")
        models = shipped_rungs(run, recipe, data.facts)
        signature = load_signature(run.work(program))
        rungs.save_samples(data, "holdout", signature, folder / Path(SAMPLES["holdout"]).name)
        if calibrated:
            models |= rungs.references(rungs.load_converted(run.work(program)))
        rungs.score(models, data, signature, "holdout", folder, batched=run.result("programs")["batched"])
        if recipe.distill is None:
            return
        faculty = faculty_of(run, recipe, data)
        write_arrays(folder / RUNGS / "teacher", faculty.merged(faculty.outputs("holdout"), holdout))

    calibrated = stored.calibrated(run)
    program = f"programs/student-{'reference' if calibrated else 'float'}.pt2"
    trained = ("control", "student") if recipe.distill is not None and recipe.distill.control else ("student",)
    step = Step(
        "holdout",
        run.made("programs")["temperature"],
        reads=("work/data", *program_files(program), *(f"work/{name}" for name in trained)),
        code=("edgedistill.verify.rungs",),
        packages=("torch", "torchao"),
    )
    run.step(step, work)
    execute(run, recipe, specs, "holdout", before=opens)
    trials.on_holdout(run, recipe, specs, opens)
