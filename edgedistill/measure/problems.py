"""Describes what went wrong in a stress test. Without numpy, since reports and the command line import it."""

from collections.abc import Mapping
from typing import Any


def problems(figures: Mapping[str, Any]) -> list[str]:
    """What a reader of `stress.stress_figures` must know first: instances that died, limits, gaps, and outputs that changed."""
    lines = []
    for event in figures.get("events", []):
        if event["event"] == "instance_died":
            how = event["signal"] or f"exit status {event['exit']}"
            lines.append(f"instance {event['index']} died with {how}: {event['last_line'] or 'no message'}")
        elif event["event"] == "aborted":
            lines.append(f"stopped after {event['t_s']:.0f} s: {event['sensor']} was {event['value']:g}, the limit is {event['limit']:g}")
    lines += [f"the limit {name} was not enforced, since no sensor of the device reports it" for name in figures.get("unguarded", [])]
    if gaps := figures.get("gaps"):
        lines.append(f"{len(gaps)} gap(s) in which nothing ran, the longest of {max(gap['seconds'] for gap in gaps):.1f} s")
    outputs = figures.get("outputs", {})
    if outputs.get("changed"):
        lines.append(f"{outputs['changed']} of {outputs['checked']} outputs of the same input differed from the first")
    return lines
