"""From a quantized state to artifacts: the programs of post-training precisions, and a step for each format that lowers them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.backends import backend, formats
from edgedistill.errors import UserError
from edgedistill.files import remove
from edgedistill.packages import MissingExtra, installed, why_missing
from edgedistill.progress import log
from edgedistill.records import Lowered, NotLowered
from edgedistill.run import Run, Step
from edgedistill.steps import variants
from edgedistill.steps.declared import SHARED, program_files
from edgedistill.steps.parallel import parallel
from edgedistill.verify import stored

if TYPE_CHECKING:
    from edgedistill.recipe.schema import Recipe
    from edgedistill.records import ArtifactSpec


def lower(run: Run, recipe: Recipe, specs: list[ArtifactSpec], *, again: bool = False) -> list[ArtifactSpec]:
    """The programs of post-training precisions, then one step a format, two at a time: a converter keeps one core busy.

    Returns the files that were made. What a format cannot hold, or a converter fails at, is in the record of the format's step, and the
    others are made. again: lower files anew that were lowered before from the same programs.

    Raises UserError before anything is lowered where no format can hold its file, with every reason.
    """
    from edgedistill.export.lower import lower as lower_programs

    variants.make(run, recipe, specs)
    refused = _refused(run, specs)
    if len(refused) == len(specs):
        raise UserError("; ".join(f"{file.name}: {file.reason}" for file in refused))
    left_out = {file.name for file in refused}
    programs = run.made("programs")
    metadata = {"generator": "edgedistill", "model": recipe.student.label, "state_sha256": programs["sha256"]}

    def lower_to(name: str) -> Lowered:
        chosen = [s for s in specs if s.format == name and s.name not in left_out]
        never = [file for file in refused if file.format == name]
        step = _lowering(name, chosen, never, metadata)

        def work(folder: Path) -> Lowered:
            record = Lowered(artifacts=[])
            if chosen:
                record = lower_programs(chosen, run.work(), folder, run.path("logs", f"export-{name}.log"), metadata)
            if record.artifacts and (companions := backend(name).companions):
                import_module(companions).write(folder, [artifact.name for artifact in record.artifacts])
            for output in step.outputs:
                # One of an interrupted try may be there.
                remove(run.path(output))
                if (made := folder / Path(output).name).exists():
                    made.rename(run.path(output))
            made_with = installed(step.packages)
            artifacts = [artifact.model_copy(update={"packages": made_with}) for artifact in record.artifacts]
            return record.model_copy(update={"artifacts": artifacts, "not_lowered": [*never, *record.not_lowered]})

        return Lowered.model_validate(run.step(step, work, again=again))

    chosen_formats = [name for name in formats() if any(s.format == name for s in specs)]
    results = parallel("export", chosen_formats, lower_to)
    for file in (file for result in results for file in result.not_lowered):
        log(f"{file.name} was not lowered: {file.reason}")
    made = {artifact.name for result in results for artifact in result.artifacts}
    return [spec for spec in specs if spec.name in made]


def _refused(run: Run, specs: list[ArtifactSpec]) -> list[NotLowered]:
    """Every file that its format cannot hold, or whose converter is not here, found out before anything is lowered."""
    from edgedistill.export.fitting import check, of_file
    from edgedistill.export.programs import load_operators, load_signature

    refused = []
    for spec in specs:
        program, facts = run.work(spec.program), backend(spec.format)
        try:
            if spec.precision == "int8" and not stored.calibrated(run):
                raise UserError("the recipe calibrates nothing (quantize.after_training: none): name a way, or take another precision")
            if why := why_missing(facts.packages, facts.extra):
                raise MissingExtra(why)
            signature = load_signature(program)
            check(load_operators(program), signature, spec)
            of_file(signature, spec)
        except UserError as error:
            refused.append(NotLowered(name=spec.name, format=spec.format, precision=spec.precision, reason=str(error)))
    return refused


def _lowering(name: str, chosen: list[ArtifactSpec], never: list[NotLowered], metadata: dict[str, Any]) -> Step:
    """The step that lowers to the format `name`: made of the programs, the format's own code, and the packages that lower."""
    backends = [backend(name)]
    for spec in chosen:
        # A delegate may be lowered to by the converter of another format.
        executed_as = backend(name).delegates[spec.delegate].executed_as if spec.delegate else None
        backends += [backend(executed_as)] if executed_as else []
    companions = backend(name).companions
    files = import_module(companions).FILES if companions else ()
    return Step(
        f"export-{name}",
        [[spec.model_dump() for spec in chosen], [file.model_dump() for file in never], metadata],
        reads=tuple(dict.fromkeys(path for spec in chosen for path in program_files(spec.program))),
        code=tuple(dict.fromkeys([*(each.lower for each in backends), *([companions] if companions else []), *SHARED])),
        packages=tuple(dict.fromkeys(package for each in backends for package in each.packages)),
        outputs=(*(spec.path for spec in chosen), *(f"artifacts/{file}" for file in files)),
    )


def lowered(run: Run) -> list[ArtifactSpec]:
    """The artifacts that a run has by now, perhaps none."""
    return [artifact.spec for artifact in run.artifacts()]
