"""Why runtimes leave operators to slower kernels: what is known, by format and operator."""

from edgedistill.backends import backends

_UNKNOWN = "the delegate did not take it, no reason is known"


def why(kind: str, operator: str) -> str:
    """Why the runtime of format `kind`, or a delegate, leaves `operator`, in words; that no reason is known where none is."""
    if kind not in backends():
        return _UNKNOWN
    facts = backends()[kind]
    unknown = facts.untaken if facts.takes is not None and operator not in facts.takes else _UNKNOWN
    return facts.reasons.get(operator, unknown)
