"""An adapter whose inferences take longer by an exact share: what a comparison is to find.

Its artifact is a JSON file {"adapter", "artifact", "share"}: the module that runs the real artifact, and by how much it is slowed.
"""

import importlib
import json
from time import perf_counter_ns

from edgedistill.measure.runner.naming import Signature
from edgedistill.measure.runner.samples import Arrays, Forward


def versions() -> dict[str, str]:
    return {}


def prepare(threads: int) -> None:
    """Nothing: which runtime it is, is known only when the file is read."""


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    with open(path) as handle:
        said = json.load(handle)
    adapter = importlib.import_module(said["adapter"])
    adapter.prepare(threads)
    forward = adapter.load(said["artifact"], threads, signature)
    factor = 1 + said["share"]

    def slowed(arrays: Arrays) -> Arrays:
        started = perf_counter_ns()
        output = forward(arrays)
        # On the clock that the harness reads, and measured anew for each inference: each takes `factor` times what it took.
        end = started + (perf_counter_ns() - started) * factor
        while perf_counter_ns() < end:
            pass
        return output

    return slowed
