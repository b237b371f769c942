"""The sampling process: ``python -m edgedistill.measure.runner.sampler --pid P --interval S``.

It reads the sensors at a low cost and writes records to standard output, see docs/sensors.md: `sensors` once, `sensor` at each sweep, and
`sampling_cost` at the end. It ends when its standard input closes or has data, so also when the process that started it dies.
"""

import argparse
import json
import os
import resource
import select
import sys
import time
from typing import Any

from edgedistill.measure.runner.sensors import Missing, Source, discover

_NICE = 10
# A tool that hangs would delay all other sensors in each sweep.
_PAUSE_AFTER_TIMEOUT_S = 30.0


def main() -> int:
    """Sample until a request to end, or until the parent process is gone; returns 0."""
    parser = argparse.ArgumentParser(prog="sampler")
    parser.add_argument("--pid", type=int, required=True, help="the measured process")
    parser.add_argument("--interval", type=float, required=True, help="seconds from sweep to sweep")
    parser.add_argument("--options", type=json.loads, default={}, help="JSON object, see `sensors.discover`")
    arguments = parser.parse_args()
    _keep_out_of_the_way(arguments.pid)
    sources, missing = discover(arguments.pid, options=arguments.options)
    try:
        _announce(arguments.interval, sources, missing)
        _sample(sources, arguments.interval)
    except BrokenPipeError:
        # Nobody reads any more: prevent an error of the interpreter when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _keep_out_of_the_way(pid: int) -> None:
    """Lower the priority, and avoid the cores that the measured process is bound to."""
    os.nice(_NICE)
    try:
        others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(pid)
        if others:
            os.sched_setaffinity(0, others)
    except (OSError, AttributeError):
        # Android may forbid it, and a container may own fewer cores than exist. Then the kernel places this process.
        return


def _announce(interval_s: float, sources: list[Source], missing: list[Missing]) -> None:
    available = [{"name": name, "unit": unit, "source": source.source} for source in sources for name, unit in source.channels.items()]
    _write("sensors", interval_s=interval_s, available=available, unavailable=[entry._asdict() for entry in missing])


def _sample(sources: list[Source], interval_s: float) -> None:
    """Read the sources that are due at each tick. All fast sources share one record; each slow source has its own, with its own time."""
    groups = [[source for source in sources if not source.min_interval_s], *([source] for source in sources if source.min_interval_s)]
    groups = [group for group in groups if group]
    due = [0.0] * len(groups)
    started, cpu_before = time.monotonic(), _cpu_ns()
    sweeps = wall_ns = 0
    tick = started
    parent = os.getppid()
    # A forked child of the measured process may hold the pipe open after that process has died.
    while not _asked_to_end(tick - time.monotonic()) and os.getppid() == parent:
        began = time.monotonic_ns()
        for index, group in enumerate(groups):
            # Half a tick early is on time, else an interval of 2 s would become 2.5 s.
            if tick >= due[index] - interval_s / 2:
                due[index] = tick + max(_sweep(group), group[0].min_interval_s)
        sweeps += 1
        wall_ns += time.monotonic_ns() - began
        # Skip missed ticks: catching up would cluster the sweeps.
        tick += interval_s * max(1, -(-(time.monotonic() - tick) // interval_s))
    span_ns = round((time.monotonic() - started) * 1e9)
    _write("sampling_cost", sweeps=sweeps, wall_ns=wall_ns, cpu_ns=_cpu_ns() - cpu_before, span_ns=span_ns)


def _sweep(group: list[Source]) -> float:
    """Read and write the values of one group; returns for how many seconds to leave it out."""
    values: dict[str, float] = {}
    rest = 0.0
    began = time.monotonic_ns()
    for source in group:
        try:
            values |= {name: value for name, value in source.read().items() if name in source.channels}
        except TimeoutError:
            rest = _PAUSE_AFTER_TIMEOUT_S
        except (OSError, ValueError):
            continue
    if values:
        _write("sensor", t_ns=(began + time.monotonic_ns()) // 2, values=values)
    return rest


def _cpu_ns() -> int:
    """Processor time of this process and of the tools that it ran, without the work of system services for them."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + round((children.ru_utime + children.ru_stime) * 1e9)


def _asked_to_end(timeout_s: float) -> bool:
    """Wait at most `timeout_s` for input or its end."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], max(0.0, timeout_s))
    return bool(ready)


def _write(kind: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"type": kind, **fields}, allow_nan=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
