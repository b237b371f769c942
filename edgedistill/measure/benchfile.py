"""One model file, measured on this machine without a run around it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill import scratch
from edgedistill.backends import backend, backends
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.files import write_array
from edgedistill.measure.adapters import sampling
from edgedistill.measure.generation import NO_STATE, Stateful, asked, counted, read_from, stateful
from edgedistill.measure.job import described_method
from edgedistill.records import Unavailable
from edgedistill.signature import MethodSignature, Signature

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.records.documents import BenchedFile
    from edgedistill.records.inspection import Inspection

_TIMEOUT_S = 900.0
_TOKENS = 32
"""The size, at most, of a dimension that varies up to a limit, in random samples."""
_FIGURES = (
    "versions", "load_ms", "first_inference_ms", "latency_ms", "median_interval_ms", "steady", "peak_rss_mb", "peak_rss_source",
    "generation",
)  # fmt: skip


def bench(path: Path) -> BenchedFile:
    """Measure the model `path` with a random sample, as `bench` of a run measures an artifact; see docs/cli.md for the document.

    Raises UserError when `path` is no whole model file, is for a runtime that this machine lacks, or does not say
    what it takes. A runtime that fails is `runtime_failed` in the document; a file for a delegate that is not
    here has the reason why it is not measured.
    """
    from edgedistill.backends.inspect import delegate_of
    from edgedistill.measure import local
    from edgedistill.measure.runner.facts import machine
    from edgedistill.recipe.schema import Measure
    from edgedistill.records.documents import BenchedFile

    facts, method = facts_of(path)
    measure = Measure()
    document = {"file": str(path), **{key: getattr(facts, key) for key in ("format", "bytes", "sha256", "warnings")}}
    document |= described_method(method)
    document |= {"device": "local", "threads": measure.threads, "environment": machine()}
    if delegate := delegate_of(facts):
        missing = Unavailable(unavailable=backend(facts.format).delegates[delegate].needs)
        return BenchedFile.model_validate(document | {"status": "ok"} | dict.fromkeys(_FIGURES, missing))
    with scratch.temporary() as folder:
        inputs, log = folder / "inputs", folder / "bench.log"
        state = state_of(path, facts)
        write_random_samples(inputs, method, 1, counted(state))
        try:
            execution = local.execute(
                backend(facts.format).adapters[0].module, path, inputs, signature=method, outputs=None, threads=measure.threads,
                bench=sampling(measure), log=log, timeout_s=_TIMEOUT_S, generation=asked(state, None, None),
            )  # fmt: skip
        except DeviceFailed as error:
            # The log goes with the folder; its last line is in the message.
            missing = Unavailable(unavailable=str(error).removesuffix(f". The log is {log}"))
            return BenchedFile.model_validate(document | {"status": "runtime_failed"} | dict.fromkeys(_FIGURES, missing))
    return BenchedFile.model_validate(document | {"status": "ok"} | {key: getattr(execution, key) for key in _FIGURES})


def facts_of(path: Path) -> tuple[Inspection, MethodSignature]:
    """What `inspect` says of a file, and what it takes and gives, one sample at a time.

    Raises UserError for a file that is none, that processors of devices don't run, or whose inputs have sizes that are not known.
    """
    from edgedistill.backends.inspect import inspect

    facts = inspect(path)
    kind = backend(facts.format)
    if not kind.measured_here:
        others = ", ".join(own.suffix for own in backends().values() if own.measured_here)
        why = next((f". {adapter.untimed}" for adapter in kind.adapters if adapter.untimed), ", which no runtime here computes")
        raise UserError(f"{path} is a file of {kind.title}{why}; expected one of {others}")
    return facts, method_of(path, facts)


def method_of(path: Path, facts: Inspection) -> MethodSignature:
    """What the file with the facts of `inspect` takes and gives, with a batch of one where the first size varies.

    A state that it keeps as further inputs and outputs is left out. Raises UserError where the file does not say it, or where another size
    of an input varies.
    """
    signature = _signature_of(path, facts)
    method = signature.forward.with_sizes({name: min(limit, _TOKENS) for name, limit in signature.limits.items()})
    batches = {spec.shape[0]: 1 for spec in (*method.inputs, *method.outputs) if spec.shape and isinstance(spec.shape[0], str)}
    method = method.with_sizes(batches)
    for spec in method.inputs:
        if spec.dynamic:
            raise UserError(f"{path} takes {spec}, expected sizes for {', '.join(spec.dynamic)}; export it with a fixed shape")
    return method


def state_of(path: Path, facts: Inspection) -> Stateful | Unavailable:
    """How the file with the facts of `inspect` is called if it keeps a state, or why it is not measured so."""
    kept = backend(facts.format).state
    return NO_STATE if kept is None else stateful(_signature_of(path, facts), told=kept == "outside")


def _signature_of(path: Path, facts: Inspection) -> Signature:
    """The signature of a file; its state is apart where it is kept as further inputs and outputs. Raises UserError where it has none."""
    if isinstance(facts.signature, Unavailable):
        raise UserError(f"{path}: {facts.signature.unavailable}; expected inputs and outputs of known types and shapes")
    return read_from(facts.signature) if backend(facts.format).state == "outside" else facts.signature


def write_random_samples(folder: Path, method: MethodSignature, count: int, positions: str | None = None) -> None:
    """Write NAME.npy with `count` samples for each input of a method; the same each time.

    Bytes are any, floats in 0..1 with 8 bits, integers 0, which is an index of every table, and booleans true. positions: the input of the
    positions 0, 1, 2 ... that a file with a state takes.
    """
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    for spec in method.inputs:
        shape = spec.fixed[1:] if spec.shape[:1] == (1,) else spec.fixed
        pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
        if spec.dtype.startswith("float"):
            array = (pixels.astype(np.float32) / np.float32(255)).astype(spec.dtype)
        else:
            array = pixels if spec.dtype == "uint8" else np.full(pixels.shape, spec.dtype == "bool", spec.dtype)
        if spec.name == positions:
            array = np.broadcast_to(np.arange(shape[-1], dtype=spec.dtype), array.shape)
        write_array(folder / f"{spec.name}.npy", array)


def outputs_here(path: Path, form: str, method: MethodSignature, inputs: Path, log: Path) -> dict[str, np.ndarray] | None:
    """What this machine's runtime gives for `inputs`, [N, ...] by name; None where it can't run it, as `log` tells."""
    import numpy as np

    from edgedistill.measure import local

    with scratch.temporary() as folder:
        try:
            execution = local.execute(
                backend(form).adapters[0].module, path, inputs, signature=method, outputs=folder, threads=1, bench=None, log=log,
                timeout_s=_TIMEOUT_S,
            )  # fmt: skip
        except DeviceFailed:
            return None
        return {name: np.load(output) for name, output in (execution.outputs or {}).items()}
