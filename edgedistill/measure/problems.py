"""What went wrong in a stress test, in words; without numpy, since reports and the command line show it."""

from collections.abc import Mapping
from typing import Any


def problems(figures: Mapping[str, Any]) -> list[str]:
    """What a reader must know before the figures of `stress.stress_figures`: deaths, limits, gaps and outputs that changed."""
    told = []
    for event in figures.get("events", []):
        if event["event"] == "instance_died":
            how = event["signal"] or f"exit status {event['exit']}"
            told.append(f"instance {event['index']} died with {how}: {event['last_line'] or 'no message'}")
        elif event["event"] == "aborted":
            told.append(f"stopped after {event['t_s']:.0f} s: {event['sensor']} was {event['value']:g}, the limit is {event['limit']:g}")
    told += [f"the limit {name} was not kept, since no sensor of the device tells about it" for name in figures.get("unguarded", [])]
    if gaps := figures.get("gaps"):
        told.append(f"{len(gaps)} gap(s) in which nothing ran, the longest of {max(gap['seconds'] for gap in gaps):.1f} s")
    outputs = figures.get("outputs", {})
    if outputs.get("changed"):
        told.append(f"{outputs['changed']} of {outputs['checked']} outputs of the same input differed from the first")
    return told
