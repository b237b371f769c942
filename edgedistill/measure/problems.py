"""Describes what went wrong in a stress test. Without numpy, since reports and the command line import it."""

from edgedistill.records.stress import Aborted, InstanceDied, StressFigures


def problems(figures: StressFigures) -> list[str]:
    """What a reader of the figures must know first: instances that died, limits, gaps, and outputs that changed."""
    lines = []
    for event in figures.events:
        if isinstance(event, InstanceDied):
            how = event.signal or f"exit status {event.exit}"
            lines.append(f"instance {event.index} died with {how}: {event.last_line or 'no message'}")
        elif isinstance(event, Aborted):
            lines.append(f"stopped after {event.t_s:.0f} s: {event.sensor} was {event.value:g}, the limit is {event.limit:g}")
    lines += [f"the limit {name} was not enforced, since no sensor of the device reports it" for name in figures.unguarded]
    if figures.gaps:
        longest = max(gap.seconds for gap in figures.gaps)
        lines.append(f"{len(figures.gaps)} gap(s) in which nothing ran, the longest of {longest:.1f} s")
    if figures.outputs.changed:
        lines.append(f"{figures.outputs.changed} of {figures.outputs.checked} outputs of the same input differed from the first")
    return lines
