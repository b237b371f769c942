"""What runtimes leave to slow kernels, held against the budgets of the targets; and its table in the report."""

from collections.abc import Iterable, Mapping

from edgedistill.records import ArtifactResult, Delegation
from edgedistill.report.tables import Summary, Table, by_format
from edgedistill.report.values import Cell, get, integer, show, unavailable, verdict

_TELLS = 3


def line(artifact: ArtifactResult) -> str:
    """The delegation of an artifact in one line: partitions, what is left to slower kernels, multiply-accumulates."""
    delegation = artifact.delegation
    if isinstance(delegation, Delegation):
        left = ", ".join(f"{fallback.count} {fallback.operator}" for fallback in delegation.fallbacks)
        parts = [f"{delegation.partitions} partition{'s' * (delegation.partitions != 1)}", f"left {left}" if left else "no fall-back"]
    else:
        parts = [delegation.unavailable]
    macs = getattr(delegation, "macs", None)
    return f"{artifact.name}: {', '.join(parts)}{f'; {integer(macs)} MACs' if isinstance(macs, int) else ''}"


def table(summary: Summary) -> Table:
    """Each artifact: partitions, who computes how many operators, what is left and why, transposes, MACs, budgets."""
    headers = ("artifact", "partitions", "operators", "left to slower kernels", "transposes", "MACs", "budgets")
    return Table("Delegation of each artifact", headers, [_row(artifact) for artifact in by_format(summary)])


def _row(artifact: Summary) -> list[Cell]:
    name, delegation = Cell(str(artifact.get("name")), "code"), artifact.get("delegation")
    if not isinstance(delegation, Mapping) or "partitions" not in delegation:
        return [name, *[unavailable(delegation)] * 4, show(get(delegation, "macs"), integer), _budgets(artifact)]
    by = [f"{who} {integer(sum(counts.values()))}" for who, counts in delegation["operators"].items()]
    return [
        name,
        show(delegation["partitions"], integer),
        Cell(", ".join(by)),
        Cell("; ".join(_by_reason(delegation["fallbacks"])) or "nothing"),
        Cell(integer(sum(delegation["transposes"].values())), "number"),
        show(get(delegation, "macs"), integer),
        _budgets(artifact),
    ]


def _by_reason(fallbacks: Iterable[Summary]) -> list[str]:
    """Each reason with the operators that it is of; their layers only where it is of one operator."""
    groups: dict[str, list[Summary]] = {}
    for fallback in fallbacks:
        groups.setdefault(fallback["why"], []).append(fallback)
    texts = []
    for why, group in groups.items():
        several = ", ".join(f"{each['count']} {each['operator']}" for each in group)
        texts.append(_fallback_text(group[0]) if len(group) == 1 else f"{several}: {why}")
    return texts


def _fallback_text(fallback: Summary) -> str:
    layers = list(fallback["layers"])
    more = f" and {fallback['count'] - _TELLS} more" if fallback["count"] > _TELLS else ""
    return f"{fallback['count']} {fallback['operator']} ({', '.join(layers[:_TELLS])}{more}): {fallback['why']}"


def _budgets(artifact: Summary) -> Cell:
    budgets = artifact.get("budgets") or []
    if not budgets:
        return Cell("–")
    if any(budget.get("ok") is None for budget in budgets):
        return verdict(None, budgets[0].get("found"))
    # Limits and what was found are told where the report tells what failed.
    wrong = [b["budget"] for b in budgets if not b["ok"]]
    return Cell("✗ failed: " + ", ".join(wrong), "failed") if wrong else verdict(True)
