"""A model file from elsewhere, held against the programs of a run: as its own artifacts are, without becoming one of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import scratch
from edgedistill.backends.inspect.precision import has_float16, precision_of
from edgedistill.errors import DeviceFailed, NotExecuted, UserError
from edgedistill.measure.adapters import executor, not_here
from edgedistill.measure.inputs import taken
from edgedistill.records import Parity, Score, Status, Unavailable
from edgedistill.records.documents import ExternalScore, OwnFile, VerifiedFile
from edgedistill.run import Run
from edgedistill.signature import MethodSignature, TensorSpec
from edgedistill.verify import stored

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.recipe.schema import Recipe
    from edgedistill.records.inspection import Inspection
    from edgedistill.verify.scoring import Scorer

_TIMEOUT_S = 900.0


def verify(run: Run, recipe: Recipe, path: Path) -> VerifiedFile:
    """Execute the model file `path` on the val samples of a run, and hold it against the run's program of the same precision.

    An int8 file is held to the integer reference, or to the converted program where its format computes in floating point; a
    floating-point one to the student. The document has what docs/cli.md says.

    Raises UserError when `path` is no whole model file, or when it takes or gives something else than the run's programs do.
    """
    from edgedistill.backends import arithmetic
    from edgedistill.backends.inspect import delegate_of, inspect
    from edgedistill.verify import judge, parity
    from edgedistill.verify.scoring import Scorer, score_of

    facts = inspect(path)
    precision = precision_of(facts)
    rung = "student" if precision != "int8" else "integer" if arithmetic(facts.format, delegate_of(facts)).integer_kernels else "converted"
    scorer = Scorer(run, recipe)
    expected = scorer.outputs(rung)
    if expected is None:
        raise UserError(f"{run.shown} has no outputs of {rung}; go on with `edgedistill run` of its recipe, which makes them")
    kind, method = _checked_ports(path, facts, run)
    executed_by, versions, outputs = judge.NOT_EXECUTED, dict[str, str](), None
    ok: bool | None = False
    status: Status = "runtime_failed"
    verdict: Parity | Unavailable
    try:
        if why := not_here(facts.format, delegate_of(facts), path):
            verdict = Unavailable(unavailable=why)
            ok, status = None, "ok"
        else:
            outputs, versions, executed_by = _execute(run, recipe, path, facts, kind, method)
            limit = None if precision == "int8" else parity.FLOAT_LIMITS["fp16" if precision == "fp16" else "fp32"]
            scales = run.made("programs")["output_scale"]
            compared = judge.joined(rung, judge.compare(outputs, expected, limit=limit, scales=scales, decide=scorer.task.decide))
            verdict, ok, status = compared, compared.ok, "ok" if compared.ok else "check_failed"
    except NotExecuted as error:
        verdict, ok, status = Unavailable(unavailable=str(error)), None, "ok"
    except DeviceFailed as error:
        verdict = Unavailable(unavailable=str(error))
    targets = scorer.targets("val")
    score: Score | Unavailable = Unavailable(unavailable=scorer.no_targets)
    if isinstance(verdict, Unavailable) or outputs is None:
        score = verdict if isinstance(verdict, Unavailable) else score
    elif targets:
        score = score_of(scorer.task, scorer.task.score(outputs, targets))
    own = _own(run, scorer, facts, precision, kind)
    warnings = [*facts.warnings, *([] if own is None else _compared_with(own, verdict, path))]
    return VerifiedFile(
        file=str(path), precision=precision, run=str(run.shown), executed_by=executed_by, runtime=versions, ok=ok, status=status,
        parity=verdict, score=ExternalScore(file=score, student=scorer.score("student").val), metric=scorer.task.metric,
        own=own, warnings=warnings, **{key: getattr(facts, key) for key in ("format", "sha256", "bytes")},
    )  # fmt: skip


def _own(run: Run, scorer: Scorer, facts: Inspection, precision: str, kind: str) -> OwnFile | None:
    """What the run found out of its own file of the same kind, where it has one."""
    from edgedistill.backends.inspect import delegate_of

    asked = (facts.format, precision, delegate_of(facts), kind)
    files = [a for a in run.artifacts() if a.role == "student" and (a.format, a.precision, a.delegate, a.input) == asked]
    if not files:
        return None
    made = next((a for a in files if a.sha256 == facts.sha256), files[0])
    judged, changed = scorer.judged(made), run.changed(made)
    parity, ok = (judged.parity, judged.ok) if changed is None else (Unavailable(unavailable=changed), False)
    return OwnFile(name=made.name, sha256=made.sha256, same=made.sha256 == facts.sha256, ok=ok, parity=parity)


def _compared_with(own: OwnFile, verdict: Parity | Unavailable, path: Path) -> list[str]:
    """What to say where the run's own file keeps to the program better than another one does."""
    if own.same or isinstance(own.parity, Unavailable) or isinstance(verdict, Unavailable):
        return []
    ours, theirs = own.parity.exact, verdict.exact
    if ours is not None and theirs is not None and theirs < ours:
        found = f"{100 * ours:.2f}% exact on val, and {path} is {100 * theirs:.2f}%"
    elif own.ok and not verdict.ok:
        found = f"within the rule on val, and {path} is not"
    else:
        return []
    return [f"the run's own {own.name} is {found}: it was changed, or it was made by something else"]


def _checked_ports(path: Path, facts: Inspection, run: Run) -> tuple[str, MethodSignature]:
    """The kind of input of the file, and its inputs and outputs; UserError unless they are those of the run's programs."""
    from edgedistill.backends import backend
    from edgedistill.export.fitting import of_file
    from edgedistill.export.programs import load_signature
    from edgedistill.records import ArtifactSpec

    signature, methods = load_signature(run.work("programs", "student-float.pt2")), dict[str, MethodSignature]()
    sizes = stored.sizes(run)
    for name in backend(facts.format).inputs:
        # Only images can be bytes.
        with suppress(UserError):
            methods[name] = of_file(signature, ArtifactSpec(facts.format, "fp32", input=name)).forward.with_sizes(sizes)
    if isinstance(facts.signature, Unavailable):
        return next(iter(methods.items()))
    file_method = facts.signature.forward
    todo = "Name the run that it belongs to, or export it with these inputs and outputs"
    kind = next((name for name, method in methods.items() if _fit(file_method.inputs, method.inputs)), None)
    if kind is None:
        expected = ", or ".join(_text(method.inputs) for method in methods.values())
        raise UserError(f"{path} takes {_text(file_method.inputs)}, and the programs of {run.shown} take {expected}. {todo}")
    method = methods[kind]
    if not _fit(file_method.outputs, method.outputs):
        raise UserError(f"{path} gives {_text(file_method.outputs)}, and the programs of {run.shown} give {_text(method.outputs)}. {todo}")
    return kind, method


def _fit(tensors: Sequence[TensorSpec], expected: Sequence[TensorSpec]) -> bool:
    """Whether a file's tensors may be the `expected` ones, one by one; a size that varies fits any."""
    return len(tensors) == len(expected) and all(
        a.dtype == b.dtype
        and len(a.shape) == len(b.shape)
        and all(x == y or isinstance(x, str) or isinstance(y, str) for x, y in zip(a.shape, b.shape, strict=True))
        for a, b in zip(tensors, expected, strict=True)
    )


def _text(specs: Sequence[TensorSpec]) -> str:
    return " and ".join(f"{spec.dtype} [{', '.join(map(str, spec.shape))}]" for spec in specs)


def _execute(
    run: Run, recipe: Recipe, path: Path, facts: Inspection, kind: str, method: MethodSignature
) -> tuple[dict[str, np.ndarray], dict[str, str], str]:
    """Outputs on val of the file with the input `kind`, versions of what ran it, and what that was; a child process opens the file."""
    from edgedistill.backends.inspect import delegate_of
    from edgedistill.files import read_arrays
    from edgedistill.measure import local

    adapter = executor(facts.format, delegate_of(facts), float16=has_float16(facts))
    with scratch.temporary() as folder, taken(run.path(stored.SAMPLES["val"]), method, kind) as inputs:
        execution = local.execute(
            adapter.module, path, inputs, signature=method, outputs=folder, threads=recipe.measure.threads, bench=None,
            log=run.path("logs", f"verify-{path.name}.log"), timeout_s=_TIMEOUT_S,
        )  # fmt: skip
        return read_arrays(folder), execution.versions, adapter.executed_by
