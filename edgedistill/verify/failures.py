"""What the judge found wrong, in sentences: artifacts that fail, budgets that are broken, and precisions that lose quality."""

from __future__ import annotations

from collections.abc import Iterable

from edgedistill.records import ArtifactResult, Budget, Comparison, Delegation, Metric, NotLowered, Pair, Parity, Quantization, Unavailable

_LEAST_SNR_DB = 10.0
_TRAIN = "Train it in int8, or for longer, or try quantize.mixed: auto"
_KEEP = "Take a precision that keeps more"


def failures(artifacts: Iterable[ArtifactResult], compared: Iterable[Pair] = (), missing: Iterable[NotLowered] = ()) -> list[str]:
    """A line for each artifact, pair and budget that fails: artifacts with the first diverging layer where one was looked for.

    missing: the files that could not be made.
    """
    artifacts = list(artifacts)
    lines = [f"{file.name} was not lowered: {file.reason}" for file in missing]
    lines += [_failed(artifact) for artifact in artifacts if artifact.ok is False]
    lines += [f"{pair.a} and {pair.b}" for pair in compared if pair.ok is False]
    return lines + [_broken(artifact, budget) for artifact in artifacts for budget in artifact.budgets if budget.ok is False]


def _failed(artifact: ArtifactResult) -> str:
    divergence = artifact.divergence
    if divergence is None:
        return f"{artifact.name}: {_distance(artifact.parity)}"
    if divergence.layer is None:
        return f"{artifact.name}: no diverging layer found, {divergence.reason}"
    known = isinstance(divergence.parity, Comparison) and divergence.parity.mean_lsb is not None
    distance = f"mean {divergence.parity.mean_lsb:.2g} LSB, at most {divergence.parity.max_lsb:.3g}" if known else "not comparable"  # type: ignore[union-attr]
    since = f", one of {', '.join(divergence.computed)}" if len(divergence.computed) > 1 else ""
    found = f"{divergence.layer} ({divergence.operator}, {distance})"
    return f"{artifact.name}: the first place that differs is behind {found}{since}, {divergence.note}"


def _distance(parity: Parity | Unavailable) -> str:
    """Why a comparison fails, in figures."""
    if isinstance(parity, Unavailable):
        return parity.unavailable
    output = f"output {parity.output}: " if parity.output else ""
    if parity.reason is not None:
        return f"{output}{parity.reason}"
    if parity.mean_lsb is not None and parity.within_2_lsb is not None:
        found = f"mean {parity.mean_lsb:.2g} LSB, {parity.within_2_lsb:.2%} within 2 LSB"
    else:
        found = f"largest difference {parity.max_abs:.3g}" if parity.max_abs is not None else "not comparable"
    flips = f", {parity.flips} of {parity.n} flips" if parity.flips else ""
    return f"{output}{found}{flips} from {parity.reference}; the rule is {parity.rule}"


def _broken(artifact: ArtifactResult, budget: Budget) -> str:
    why = ""
    if budget.budget == "fallbacks" and isinstance(artifact.delegation, Delegation):
        why = f" ({', '.join(f'{count} {operator}' for operator, count in artifact.delegation.outside.items())})"
    rule = f"budget {budget.budget} of {', '.join(budget.targets)} is at most {budget.limit}"
    return f"{artifact.name}: {rule}, found {budget.found}{why}"


def warnings(artifacts: Iterable[ArtifactResult], metric: Metric) -> list[str]:
    """A sentence for each precision that loses quality beyond doubt, about its worst file: in its score, or without one in its outputs."""
    artifacts = list(artifacts)
    losing = [(a.precision, a.quantization) for a in artifacts if a.quantization is not None and a.quantization.loses]
    worst = {precision: cost for precision, cost in sorted(losing, key=lambda item: -float(item[1].difference))}  # type: ignore[arg-type]
    noisy: dict[str, tuple[float, str]] = {}
    for artifact in artifacts:
        scored = artifact.quantization is None or isinstance(artifact.quantization.difference, float)
        for name, error in artifact.outputs.items() if isinstance(artifact.outputs, dict) and not scored else ():
            if error.snr_db is not None and error.snr_db < min(_LEAST_SNR_DB, noisy.get(artifact.precision, (_LEAST_SNR_DB, ""))[0]):
                noisy[artifact.precision] = (error.snr_db, name)
    return [_warning(metric, precision, cost) for precision, cost in worst.items()] + [
        f"{precision} keeps the output {name} at a signal-to-noise ratio of {snr:.1f} dB against the float module, which is little. "
        f"{_TRAIN if precision == 'int8' else _KEEP}"
        for precision, (snr, name) in noisy.items()
    ]


def _warning(metric: Metric, precision: str, cost: Quantization) -> str:
    assert isinstance(cost.interval, tuple)
    assert isinstance(cost.difference, float)
    low, high = (_points(end) for end in cost.interval)
    todo = _TRAIN if precision == "int8" else _KEEP
    lost = f"{precision} loses {_points(-cost.difference).removeprefix('+')} points of {metric.title} on val"
    return f"{lost} [{low}, {high}] against {cost.twin}, n = {cost.n}. {todo}, or ship {cost.twin}"


def _points(fraction: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return "0.00" if round(100 * fraction, 2) == 0 else f"{100 * fraction:+.2f}".replace("-", "−")
