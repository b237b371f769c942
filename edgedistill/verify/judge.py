"""The judge of artifacts: which reference one is held to, by which rule, with what verdict, and how a command ends by it.

It knows no task: what a decision is comes from `decide`, and which outputs there are from the arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np

from edgedistill.backends import arithmetic, backend
from edgedistill.recipe.precisions import is_dynamic, is_float, is_static, is_wide, needs_program
from edgedistill.records import (
    ArtifactResult,
    ArtifactSpec,
    Comparison,
    Delegation,
    Execution,
    NotLowered,
    Pair,
    Parity,
    Status,
    Unavailable,
    UnknownDelegation,
)
from edgedistill.verify import parity

NOT_EXECUTED = "unavailable"
"""What `executed_by` says of an artifact that nothing executed."""
_NOT_VERIFIED = "not verified; run `edgedistill verify`"
Arrays = Mapping[str, np.ndarray]
"""Outputs of N samples, [N, ...] by their names."""
Decide = Callable[[Arrays], np.ndarray | None]
"""What is decided of each sample, integers or bool [N] or [N, ...]; None where nothing is. See `tasks.base.Task.decide`."""


def reference(spec: ArtifactSpec) -> str:
    """The rung that an artifact is held to.

    int8: the program in integers where kernels compute in integers, else the program in floating point. Post-training precisions: their
    own program, likewise where it is int8, with activations rounded by row, or by tensor where the runtime does so.
    """
    computed = arithmetic(spec.format, spec.delegate)
    if is_static(spec.precision):
        rung = "integer" if computed.integer_kernels else "converted"
        return f"{spec.precision}-{rung}" if needs_program(spec.precision) else rung
    if needs_program(spec.precision):
        by_tensor = is_dynamic(spec.precision) and computed.dynamic_by_tensor
        return f"{spec.precision}-tensors" if by_tensor else spec.precision
    return spec.role


def unrounded(spec: ArtifactSpec) -> str | None:
    """The rung of an artifact's program without rounding activations; None where they are not rounded as they come."""
    return f"{spec.precision}-unrounded" if is_dynamic(spec.precision) else None


def limit(spec: ArtifactSpec) -> float | None:
    """The largest difference from the reference, as a share of its largest output; None where differences are counted in steps."""
    if is_static(spec.precision):
        return None
    if is_dynamic(spec.precision):
        return parity.DYNAMIC_LIMIT
    if is_wide(spec.precision):
        return parity.INT16_LIMIT
    return parity.FLOAT_LIMITS[spec.precision if is_float(spec.precision) else backend(spec.format).twin]


def flips(a: Arrays, b: Arrays, decide: Decide | None) -> int | None:
    """Samples for which `decide` says another thing of the outputs `a` than of `b`; None where it decides nothing."""
    if decide is None or any(name not in a or a[name].shape != values.shape for name, values in b.items()):
        return None
    ours, theirs = decide(a), decide(b)
    return None if ours is None or theirs is None else int((ours != theirs).reshape(len(ours), -1).any(axis=1).sum())


def compare(
    outputs: Arrays, expected: Arrays, *, limit: float | None, scales: Mapping[str, float] | None = None, decide: Decide | None = None,
    unrounded: Arrays | None = None,
) -> dict[str, Comparison]:  # fmt: skip
    """Each output against the reference's, the worst first.

    unrounded: outputs of the reference without rounding activations, where runtimes round them as they come; see `parity`.
    limit: a share of the largest output, or None to count differences in steps, the `scales` of the outputs that are quantized. Flips are
    counted once for all outputs together, stand in each comparison, and are judged where differences are counted in steps.
    """
    flipped = flips(outputs, expected, decide)
    comparisons = {}
    for name, expected_values in expected.items():
        if name not in outputs:
            reason = f"found the outputs {', '.join(outputs) or 'none'}, expected {name}"
            comparisons[name] = Comparison(ok=False, reason=reason, rule="every output of the reference", n=len(expected_values))
        elif unrounded is not None:
            comparisons[name] = parity.rounding_parity(outputs[name], expected_values, unrounded[name], flips=flipped)
        elif limit is None and (scale := (scales or {}).get(name)):
            comparisons[name] = parity.quantized_parity(outputs[name], expected_values, scale, flipped)
        else:
            # An output that is not quantized is computed from values that may be a step apart.
            share = parity.UNQUANTIZED_LIMIT if limit is None else limit
            comparisons[name] = parity.float_parity(outputs[name], expected_values, relative_limit=share, flips=flipped)
    return dict(sorted(comparisons.items(), key=lambda item: _badness(item[1]), reverse=True))


def _badness(comparison: Comparison) -> tuple[bool, bool, float]:
    return (
        comparison.ok is False,
        comparison.reason is not None,
        (comparison.mean_lsb if comparison.relative is None else comparison.relative) or 0.0,
    )


def verdict(
    spec: ArtifactSpec,
    outputs: Arrays | None,
    expected: Arrays | None,
    *,
    scales: Mapping[str, float] | None = None,
    decide: Decide | None = None,
    unrounded: Arrays | None = None,
) -> Parity | Unavailable:
    """An artifact that ran against its reference, by the rule of its precision; it is ok when all of its outputs are.

    outputs, expected: what the artifact and its reference gave for the same samples; None where one was not run. unrounded: see `compare`.
    """
    rung = reference(spec)
    if outputs is None or expected is None:
        return Unavailable(unavailable=f"no outputs of {rung} to compare with")
    return joined(rung, compare(outputs, expected, limit=limit(spec), scales=scales, decide=decide, unrounded=unrounded))


class Judgement(NamedTuple):
    """What is said of an artifact: who executed it, whether it keeps its rule (None where it was not executed), and the comparison."""

    executed_by: str
    ok: bool | None
    parity: Parity | Unavailable


def judged(
    spec: ArtifactSpec,
    ran: Execution | None,
    outputs: Arrays | None,
    expected: Arrays | None,
    scales: Mapping[str, float],
    decide: Decide | None = None,
    unrounded: Arrays | None = None,
) -> Judgement:
    """The judgement of an artifact that was executed on val, or of one that was not: `ran` is None, or says why. See `verdict`."""
    if ran is None:
        return Judgement(NOT_EXECUTED, None, Unavailable(unavailable=_NOT_VERIFIED))
    if ran.unavailable is not None:
        return Judgement(NOT_EXECUTED, None, Unavailable(unavailable=ran.unavailable))
    if ran.error is not None:
        return Judgement(NOT_EXECUTED, False, Unavailable(unavailable=ran.error))
    comparison = verdict(spec, outputs, expected, scales=scales, decide=decide, unrounded=unrounded)
    return Judgement(str(ran.executed_by), comparison.ok if isinstance(comparison, Parity) else None, comparison)


def joined(rung: str, comparisons: Mapping[str, Comparison]) -> Parity:
    """The comparisons of all outputs with `rung` as one: the fields of the worst, which comes first, and whether all are ok."""
    worst, shown = next(iter(comparisons.items()))
    several = {"output": worst, "outputs": dict(comparisons)} if len(comparisons) > 1 else {}
    return Parity(**shown.model_dump() | {"reference": rung, "ok": all(comparison.ok for comparison in comparisons.values())} | several)


def pairs(outputs: Mapping[str, Arrays], scales: Mapping[str, float], decide: Decide | None = None) -> dict[tuple[str, str], Comparison]:
    """The worst output of every two artifacts of one int8 program against each other, by their names."""
    comparisons = {}
    for a, b in combinations(outputs, 2):
        compared = compare(outputs[a], outputs[b], limit=None, scales=scales, decide=decide)
        worst = next(iter(compared.values()))
        comparisons[a, b] = worst.model_copy(update={"ok": all(comparison.ok for comparison in compared.values())})
    return comparisons


def held(budget: str, limit: int, delegation: Delegation | UnknownDelegation | Unavailable) -> tuple[int | Unavailable, bool | None]:
    """What counts for a budget of a file, and whether that keeps its limit; None where it is not known."""
    if not isinstance(delegation, Delegation):
        return Unavailable(unavailable=delegation.unavailable), None
    value = delegation.partitions if budget == "partitions" else sum(delegation.outside.values())
    return value, value <= limit


def twin_of(artifact: ArtifactResult, others: Iterable[ArtifactResult]) -> ArtifactResult | None:
    """The floating-point artifact of the same format, delegate and role; one that takes the same comes first: reading bytes costs time."""
    same = [other for other in others if _kind(other) == _kind(artifact) and is_float(other.precision)]
    return next((other for other in same if other.input == artifact.input), same[0] if same else None)


def _kind(artifact: ArtifactResult) -> tuple[str, str, str | None, dict[str, int] | None]:
    return artifact.role, artifact.format, artifact.delegate, artifact.sizes


def loses(interval: tuple[float, float] | Unavailable, tolerated: float) -> bool:
    """Whether a score is lower beyond doubt: the 95% interval of the difference lies wholly below what is tolerated."""
    return isinstance(interval, tuple) and interval[1] < -tolerated


def status_of(artifacts: Iterable[ArtifactResult], compared: Iterable[Pair] = (), missing: Iterable[NotLowered] = ()) -> Status:
    """ok, runtime_failed when an artifact could not be run, or check_failed when a check did not hold or a file misses.

    missing: the files that could not be made.
    """
    artifacts = list(artifacts)
    if any(a.ok is False and a.executed_by == NOT_EXECUTED for a in artifacts):
        return "runtime_failed"
    results = [a.ok for a in artifacts] + [pair.ok for pair in compared] + [budget.ok for a in artifacts for budget in a.budgets]
    return "check_failed" if False in results or list(missing) else "ok"
