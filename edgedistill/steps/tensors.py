"""From any module and samples of its inputs to verified files: quantized, lowered, executed, and judged by each output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.files import write_json
from edgedistill.progress import log
from edgedistill.run import Run, open_run
from edgedistill.tasks.tensors.samples import Samples, read

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from edgedistill.quantize.state import QuantizedState
    from edgedistill.records import Artifact, ArtifactSpec
    from edgedistill.signature import Signature

DOCUMENT = "tensors.json"
"""What `export` returned, in the folder of the run."""
_TIMEOUT_S = 900.0
_HELD = ("int8", "fp16", "fp32")


@dataclass(frozen=True)
class _Made:
    """A module's signature, its int8 state, and by name of the rung what each gives for val."""

    signature: Signature
    state: QuantizedState
    rungs: dict[str, dict[str, np.ndarray]]


def export(module: nn.Module, label: str, samples: Samples, targets: Sequence[str], folder: Path, *, fresh: bool = False) -> dict[str, Any]:
    """Quantize `module`, lower it to the files of `targets`, execute them on one half of `samples`, and judge them.

    A file in floating point is held to the module, one in int8 to the integer program; of each output the document tells the difference
    from the module. Raises UserError before anything is lowered where a file cannot hold the module.
    """
    with open_run(folder, fresh=fresh) as run:
        specs = _wanted(targets)
        log(f"quantizing {label} with {len(samples.calibration)} samples")
        made = _quantized(module, label, samples, run)
        _check(specs, made.signature, run)
        from edgedistill.export.lower import lower

        artifacts: list[Artifact] = []
        for kind in dict.fromkeys(spec.format for spec in specs):
            log(f"lowering to {kind}")
            place = run.path("artifacts")
            place.mkdir(exist_ok=True)
            chosen = [spec for spec in specs if spec.format == kind]
            metadata = {"generator": "edgedistill", "model": label, "state_sha256": made.state.sha256}
            artifacts += lower(chosen, run.work(), place, run.path("logs", f"export-{kind}.log"), metadata).artifacts
        rows = [_verified(artifact, made, samples, run) for artifact in artifacts]
        failed = any("unavailable" in row and row["ok"] is False for row in rows)
        status = "runtime_failed" if failed else "ok" if all(row["ok"] is not False for row in rows) else "check_failed"
        document = {
            "run": str(folder), "status": status, "model": label, "signature": made.signature.model_dump(mode="json"),
            "samples": {"calibration": len(samples.calibration), "val": len(samples.val)}, "state": {"sha256": made.state.sha256,
            "output_scale": made.state.output_scale}, "artifacts": rows,
        }  # fmt: skip
        write_json(run.path(DOCUMENT), document)
        return document


def export_model(
    model: str, inputs: Sequence[str], calibration: Path, targets: Sequence[str], runs_dir: Path, *, checkpoint: Path | None = None,
    name: str | None = None, fresh: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """As `export`, for the module that the function `torch:MODULE:FUNCTION` returns and the samples of an .npz."""
    from edgedistill.tasks.code import load_checkpoint, made_by

    samples = read(calibration, inputs)
    prefix, _, reference = model.partition(":")
    if prefix != "torch":
        raise UserError(f"--model: found '{model}', expected torch:package.module:function")
    module = made_by(reference, "--model")
    if checkpoint is not None:
        load_checkpoint(module, checkpoint, reference)
    return export(module, reference, samples, targets, runs_dir / (name or reference.rpartition(":")[2]), fresh=fresh)


def _wanted(targets: Sequence[str]) -> list[ArtifactSpec]:
    from edgedistill.recipe.targets import load_target
    from edgedistill.records import ArtifactSpec

    if not targets:
        raise UserError("found no --target, expected at least one, such as --target linux")
    wanted = [ArtifactSpec(**artifact.model_dump()) for name in targets for artifact in load_target(name).artifacts]
    if other := sorted({spec.precision for spec in wanted} - set(_HELD)):
        raise UserError(
            f"{', '.join(targets)}: found the precision {', '.join(other)}, expected {', '.join(_HELD)} for a module of any kind"
        )
    return list(dict.fromkeys(wanted))


def _quantized(module: nn.Module, label: str, samples: Samples, run: Run) -> _Made:
    from edgedistill.export.flatten import flatten
    from edgedistill.export.programs import save_program
    from edgedistill.quantize.rewrite import plain_batchnorm
    from edgedistill.quantize.samples import answers, batches
    from edgedistill.quantize.state import convert
    from edgedistill.quantize.static import calibrate
    from edgedistill.signature import Signature
    from edgedistill.verify.rungs import references

    fixed = Signature.of([spec.with_sizes(samples.sizes) for spec in samples.inputs], [])
    shown = samples.rows(samples.calibration)
    flat, signature = flatten(plain_batchnorm(module), samples.inputs, label=label, sample=next(batches(fixed, shown)))
    try:
        state = convert(calibrate(flat, signature, batches(signature, shown), any_batch=False), signature)
        for form, program in (("float", flat), ("converted", state.converted), ("unfolded", state.unfolded)):
            save_program(program, signature, run.work("programs", f"student-{form}.pt2"), sizes=samples.sizes)
    except Exception as error:
        # torch.export meets whatever a module's code does.
        raise UserError(f"{label}: torch.export or PT2E can't take the module ({type(error).__name__}: {error})") from error
    val = samples.rows(samples.val)
    modules = {"float": flat, **references(state.converted)}
    return _Made(signature, state, {name: answers(signature, rung, val) for name, rung in modules.items()})


def _check(specs: Sequence[ArtifactSpec], signature: Signature, run: Run) -> None:
    """Every refusal at once, before anything is lowered."""
    import torch

    from edgedistill.export.fitting import check, of_file

    programs = {spec.program: torch.export.load(run.work(spec.program)) for spec in specs}
    refused = []
    for spec in specs:
        try:
            check(programs[spec.program], signature, spec)
            of_file(signature, spec)
        except UserError as error:
            refused.append(str(error))
    if refused:
        raise UserError("; ".join(refused))


def _verified(artifact: Artifact, made: _Made, samples: Samples, run: Run) -> dict[str, Any]:
    """The record of an artifact: what it is, who executed it, whether it holds, and how far each output is from the module."""
    from edgedistill.backends import backend
    from edgedistill.measure.adapters import executor_of, not_here
    from edgedistill.recipe.precisions import is_static
    from edgedistill.verify.outputs import compare, same_program
    from edgedistill.verify.parity import FLOAT_LIMITS

    row: dict[str, Any] = artifact.model_dump(mode="json")
    try:
        if why := not_here(artifact.format, artifact.delegate, run.path("artifacts", artifact.name)):
            return row | {"executed_by": "unavailable", "ok": None, "unavailable": why}
        adapter = executor_of(artifact)
        outputs = _executed(artifact, adapter.module, samples, run)
    except DeviceFailed as error:
        return row | {"executed_by": "unavailable", "ok": False, "unavailable": str(error)}
    found = compare(outputs, made.rungs["float"])
    if is_static(artifact.precision):
        delegate = backend(artifact.format).delegates[artifact.delegate] if artifact.delegate else None
        computed = (delegate.executed_as if delegate else None) or artifact.format
        rung = "integer" if backend(computed).integer_kernels else "converted"
        wrong = same_program(outputs, made.rungs[rung], made.state.output_scale)
    else:
        rung, limit = "float", FLOAT_LIMITS[artifact.precision]
        wrong = [name for name, far in found.items() if far.largest is None or far.largest > limit]
    told = {}
    for name, distance in found.items():
        worst = None if distance.worst is None else int(samples.val[distance.worst])
        told[name] = distance.model_copy(update={"worst": worst}).model_dump(mode="json") | {"ok": name not in wrong}
    return row | {"executed_by": adapter.executed_by, "ok": not wrong, "reference": rung, "outputs": told}


def _executed(artifact: Artifact, adapter: str, samples: Samples, run: Run) -> dict[str, np.ndarray]:
    import numpy as np

    from edgedistill.measure import local

    assert artifact.signature is not None
    method = artifact.signature.forward.with_sizes(samples.sizes)
    folder = run.work(f"val-{artifact.name}")
    (folder / "inputs").mkdir(parents=True, exist_ok=True)
    for spec in method.inputs:
        np.save(folder / "inputs" / f"{spec.name}.npy", samples.arrays[spec.name][samples.val].astype(spec.dtype))
    log_file = run.path("logs", f"val-{artifact.name}.log")
    local.execute(
        adapter, run.path("artifacts", artifact.name), folder / "inputs", signature=method, outputs=folder, threads=1, bench=None,
        log=log_file, timeout_s=_TIMEOUT_S,
    )  # fmt: skip
    return {spec.name: np.load(folder / f"{spec.name}.npy") for spec in method.outputs}
