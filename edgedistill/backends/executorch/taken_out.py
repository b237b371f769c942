"""Whether the program that a .pte gives to Core ML is all of it, so that it can be taken out and executed."""

from pathlib import Path

from edgedistill.backends.delegation import delegation
from edgedistill.records import Delegation


def why_not(path: Path) -> str | None:
    """Why it can't be, or None. Raises DeviceFailed for a broken file."""
    report = delegation("executorch", path)
    assert isinstance(report, Delegation)  # of this format it is known
    left = sum(report.outside.values())
    if report.partitions == 1 and not left:
        return None
    return (
        f"Core ML is given {report.partitions} parts and {left} operator(s) are left outside of them, "
        "so that no one program can be taken out and executed"
    )
