"""Compares two files on a device, interleaved."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import UserError
from edgedistill.measure import harness
from edgedistill.measure.harness import Protocol, Subject

if TYPE_CHECKING:
    from edgedistill.measure.places import Place

# Each round starts new processes, which takes seconds on a board. Fewer than eight rounds give a wide interval.
_COMPARE: dict[str, dict[str, Any]] = {
    "quick": {"block_s": 0.05, "pairs": 4, "warmup_s": 0.3, "relative_width": 0.02, "max_s": 60.0, "min_rounds": 6},
    "standard": {"block_s": 0.05, "pairs": 6, "warmup_s": 1.0, "relative_width": 0.005, "max_s": 300.0, "min_rounds": 10},
}
_TIMEOUT_S = 3600.0


def compare(a: Path, b: Path, spec: str, protocol: Protocol) -> dict[str, Any]:
    """Compare the model files `a` and `b` on the device `spec`: B's duration relative to A's, with its interval and a verdict.

    An int8 file is also compared with the fp32 twin in the same folder. Raises UserError and DeviceFailed as `harness.bench` does.
    """
    from edgedistill.measure.devices import open_device
    from edgedistill.measure.places import place

    open_device(spec)
    if protocol.preset not in _COMPARE:
        raise UserError(f"found preset '{protocol.preset}', expected {' or '.join(_COMPARE)}: a comparison stops by the ratio's interval")
    with ExitStack() as stack:
        one, other = (stack.enter_context(harness.of_file(path, run=False)) for path in (a, b))
        where = stack.enter_context(place(spec, python=protocol.python, mirror=protocol.mirror))
        result, twins = _interleaved(where, one[0], other[0], protocol), []
        for (subject,) in (one, other):
            twin = subject.path.with_name(subject.path.name.replace("int8", "fp32"))
            if subject.precision == "int8" and twin.exists() and twin not in (subject.path, a, b):
                plain = stack.enter_context(harness.of_file(twin, run=False))[0]
                twins.append(_interleaved(where, plain, subject, protocol))
    return result | {"status": "ok", "twins": twins}


def _interleaved(where: Place, a: Subject, b: Subject, protocol: Protocol) -> dict[str, Any]:
    from edgedistill.measure import comparison, document
    from edgedistill.measure.job import described_method, new_job

    spec = where.facts.spec
    sides = {
        name: {"adapter": where.adapter(one.format), "artifact": one.path, "signature": described_method(one.method), "inputs": one.inputs}
        for name, one in (("a", a), ("b", b))
    }
    job = new_job("compare", threads=protocol.threads, compare=_COMPARE[protocol.preset] | {"seed": 0}, **sides)
    kept = harness.records_path(spec, job)
    records = where.run(
        job | {"conditions": protocol.conditions},
        log=harness.log_path(spec),
        timeout_s=_TIMEOUT_S,
        records=kept,
        reduce=list,
    )
    asked = {"preset": protocol.preset, **_COMPARE[protocol.preset]}
    begun = document.base("compare", where.facts, b.artifact, **where.told(b.format), threads=protocol.threads, protocol=asked)
    judged = document.judged(where.facts.emulated, records)
    figures = comparison.compare(records)
    sides_figures = {name: figures[name] | {"artifact": subject.artifact} for name, subject in (("a", a), ("b", b))}
    return harness.stored(begun | judged | figures | sides_figures | document.sensed(records), kept, None)
