"""What runtimes leave to slow kernels, held against the budgets of the targets; and its table in the report."""

from collections.abc import Iterable, Mapping
from typing import Any

from edgedistill.report.tables import Summary, Table, by_format
from edgedistill.report.values import Cell, get, integer, number, reason, show, verdict
from edgedistill.run import Run

_NOT_EXAMINED = "not examined; run `edgedistill verify`"
_TELLS = 3


def judged(state: Run, name: str) -> dict[str, Any]:
    """The fields `delegation` and `budgets` of the artifact `name`.

    A budget: budget (partitions or fallbacks), limit, found, ok (None where found is unavailable), targets that set this limit.
    """
    # The module brings numpy, which drawing a report does without.
    from edgedistill.measure.statistics import unavailable

    found = state.result(f"delegation-{name}")
    if found is None or "error" in found:
        found = unavailable(_NOT_EXAMINED if found is None else found["error"])
    budgets: dict[tuple[str, int], dict[str, Any]] = {}
    for target, set_ in (state.result("budgets") or {}).items():
        for budget, limit in set_["limits"].items() if name in set_["artifacts"] else ():
            entry = budgets.setdefault((budget, limit), {"budget": budget, "limit": limit, **_held(found, budget, limit), "targets": []})
            entry["targets"].append(target)
    return {"delegation": found, "budgets": list(budgets.values())}


def _held(found: dict[str, Any], budget: str, limit: int) -> dict[str, Any]:
    if "unavailable" in found:
        return {"found": {key: found[key] for key in ("value", "unavailable")}, "ok": None}
    value = found["partitions"] if budget == "partitions" else sum(found["outside"].values())
    return {"found": value, "ok": value <= limit}


def broken(artifacts: Iterable[Summary]) -> list[str]:
    """Each broken budget of `artifacts` in one line: artifact, budget, limit, found, what is outside."""
    lines = []
    for artifact in artifacts:
        for budget in artifact.get("budgets") or []:
            if budget.get("ok") is False:
                why = f" ({_outside(artifact['delegation'])})" if budget["budget"] == "fallbacks" else ""
                rule = f"budget {budget['budget']} of {', '.join(budget['targets'])} is at most {budget['limit']}"
                lines.append(f"{artifact['name']}: {rule}, found {budget['found']}{why}")
    return lines


def _outside(found: Summary) -> str:
    return ", ".join(f"{count} {operator}" for operator, count in found["outside"].items())


def told(artifact: Summary) -> str:
    """The delegation of an artifact in one line: partitions, what is left to slower kernels, multiply-accumulates."""
    found = artifact["delegation"]
    if "partitions" in found:
        left = ", ".join(f"{f['count']} {f['operator']}" for f in found["fallbacks"])
        parts = [f"{found['partitions']} partition{'s' * (found['partitions'] != 1)}", f"left {left}" if left else "no fall-back"]
    else:
        parts = [reason(found)]
    macs = number(found.get("macs"))
    return f"{artifact['name']}: {', '.join(parts)}{'' if macs is None else f'; {integer(macs)} MACs'}"


def table(summary: Summary) -> Table:
    """Each artifact: partitions, who computes how many operators, what is left and why, transposes, MACs, budgets."""
    headers = ("artifact", "partitions", "operators", "left to slower kernels", "transposes", "MACs", "budgets")
    return Table("Delegation of each artifact", headers, [_row(artifact) for artifact in by_format(summary)])


def _row(artifact: Summary) -> list[Cell]:
    name, found = Cell(str(artifact.get("name")), "code"), artifact.get("delegation")
    if not isinstance(found, Mapping) or "partitions" not in found:
        why = reason(found)
        return [name, Cell(f"unavailable: {why}", "unavailable", why, span=4), show(get(found, "macs"), integer), _budgets(artifact)]
    by = [f"{who} {integer(sum(counts.values()))}" for who, counts in found["operators"].items()]
    return [
        name,
        show(found["partitions"], integer),
        Cell(", ".join(by)),
        Cell("; ".join(_told(fallback) for fallback in found["fallbacks"]) or "nothing"),
        Cell(integer(sum(found["transposes"].values())), "number"),
        show(get(found, "macs"), integer),
        _budgets(artifact),
    ]


def _told(fallback: Summary) -> str:
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
