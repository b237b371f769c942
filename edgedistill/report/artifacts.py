"""Gathers everything known of one artifact: what it is, whether it is verified, how accurate and how fast it is."""

from pydantic import TypeAdapter

from edgedistill.backends import backend
from edgedistill.records import Artifact, ArtifactResult, Budget, Delegation, Execution, Latency, Load, Pair, Unavailable, UnknownDelegation
from edgedistill.records.generation import TimedExecution
from edgedistill.run import Run
from edgedistill.tasks.base import Arrays
from edgedistill.verify import judge
from edgedistill.verify.scoring import Scorer

_NOT_EXAMINED = "not examined; run `edgedistill verify`"
_DELEGATION: TypeAdapter[Delegation | UnknownDelegation | Unavailable] = TypeAdapter(Delegation | UnknownDelegation | Unavailable)
_NOT_MEASURED = "not measured; run `edgedistill bench`"


def artifact(run: Run, made: Artifact, scorer: Scorer) -> ArtifactResult:
    """Everything known of one artifact of a run."""
    ran, record = execution(run, "val", made.name), run.result(f"bench-{made.name}")
    benched = None if record is None else TimedExecution.model_validate(record)
    verdict, changed = scorer.judged(made), run.changed(made)
    if changed is not None:
        verdict = verdict._replace(ok=False, parity=Unavailable(unavailable=changed))
    delegation, budgets = delegation_of(run, made.name)
    divergence = run.result(f"divergence-{made.name}") if verdict.ok is False and changed is None else None
    timed = benched is not None and benched.ran
    missing = Unavailable(unavailable=_why_not_timed(made, benched))
    return ArtifactResult.model_validate(
        made.spec.model_dump()
        | {
            "bytes": made.bytes,
            "sha256": made.sha256,
            "export_seconds": made.seconds,
            "packages": made.packages,
            "score": scorer.score(made.name),
            "delegation": delegation,
            "budgets": budgets,
            "executed_by": verdict.executed_by,
            "ok": verdict.ok,
            "runtime": ran.versions if ran else {},
            "parity": verdict.parity,
            "outputs": scorer.errors(made),
            "divergence": divergence,
        }
        | _figures(benched if timed else None, missing)
    )


def delegation_of(run: Run, name: str) -> tuple[Delegation | UnknownDelegation | Unavailable, list[Budget]]:
    """The delegation of the artifact `name`, and the budgets that targets set for it."""
    record = run.result(f"delegation-{name}")
    if record is None or "error" in record:
        record = {"unavailable": _NOT_EXAMINED if record is None else record["error"]}
    delegation = _DELEGATION.validate_python(record)
    budgets: dict[tuple[str, int], Budget] = {}
    for target, set_ in (run.result("budgets") or {}).items():
        for budget, limit in set_["limits"].items() if name in set_["artifacts"] else ():
            value, ok = judge.held(budget, limit, delegation)
            entry = budgets.setdefault((budget, limit), Budget(budget=budget, limit=limit, found=value, ok=ok, targets=[]))
            entry.targets.append(target)
    return delegation, list(budgets.values())


def execution(run: Run, kind: str, name: str) -> Execution | None:
    """What came of running an artifact on `val` or `holdout`; None where it was not."""
    record = run.result(f"{kind}-{name}")
    return None if record is None else Execution.model_validate(record)


def _why_not_timed(made: Artifact, benched: TimedExecution | None) -> str:
    facts = backend(made.format)
    if made.delegate:
        return facts.delegates[made.delegate].needs
    if not facts.measured_here:
        if facts.adapters and facts.adapters[0].untimed:
            return facts.adapters[0].untimed
        return f"no runtime of {facts.title} is on this machine, which executes the program op by op to verify it"
    return _NOT_MEASURED if benched is None else str(benched.error)


def _figures(benched: TimedExecution | None, missing: Unavailable) -> dict[str, Latency | Load | Unavailable | float | bool | object]:
    if benched is None:
        return dict.fromkeys(("latency_ms", "load_ms", "first_inference_ms", "peak_rss_mb"), missing)
    names = ("load_ms", "first_inference_ms", "latency_ms", "peak_rss_mb", "peak_rss_source", "steady", "threads", "generation")
    return {name: getattr(benched, name) for name in names} | {"latency_interval_ms": benched.median_interval_ms}


def pairs(run: Run, artifacts: list[ArtifactResult], scorer: Scorer) -> list[Pair]:
    """Every two int8 artifacts against each other on val, where both take all samples, or those of the same size."""
    alike: dict[str, dict[str, Arrays]] = {}
    for artifact in artifacts:
        if artifact.precision == "int8" and (arrays := scorer.outputs(artifact.name)) is not None:
            alike.setdefault(str(artifact.sizes), {})[artifact.name] = arrays
    alike = {sizes: outputs for sizes, outputs in alike.items() if len(outputs) > 1}
    if not alike:
        return []
    scales = run.made("programs")["output_scale"]
    compared = {names: each for outputs in alike.values() for names, each in judge.pairs(outputs, scales, scorer.task.decide).items()}
    records = []
    for (a, b), comparison in compared.items():
        against = scorer.difference(a, b)
        records.append(Pair(a=a, b=b, **comparison.model_dump(), difference=against.difference, interval=against.interval))
    return records
