"""One model file, measured on this machine without a run around it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.backends import backend, backends
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.adapters import sampling

if TYPE_CHECKING:
    import numpy as np

_TIMEOUT_S = 900.0
_FIGURES = ("versions", "load_ms", "first_inference_ms", "latency_ms", "median_interval_ms", "steady", "peak_rss_mb", "peak_rss_source")


def bench(path: Path) -> dict[str, Any]:
    """Measure the classifier `path` with a random image, as `bench` of a run measures an artifact; see docs/cli.md for the document.

    Raises UserError when `path` is no whole model file, is for a runtime that this machine lacks, or takes anything else than one image
    of float32 or uint8. A runtime that fails is `runtime_failed` in the document; a file for a delegate that is not
    here has the reason why it is not measured.
    """
    from edgedistill.backends.inspect import delegate_of
    from edgedistill.measure import local
    from edgedistill.measure.runner.facts import machine
    from edgedistill.recipe.schema import Measure

    facts, kind, shape = facts_of(path)
    measure = Measure()
    document = {"file": str(path), **{key: facts[key] for key in ("format", "bytes", "sha256", "warnings")}}
    document |= {"input": shape, "input_type": kind}
    document |= {"device": "local", "threads": measure.threads, "environment": machine()}
    if delegate := delegate_of(facts):
        return (
            document
            | {"status": "ok"}
            | {key: {"value": None, "unavailable": backend(facts["format"]).delegates[delegate].needs} for key in _FIGURES}
        )
    with tempfile.TemporaryDirectory(prefix="edgedistill-") as folder:
        inputs, log = Path(folder, "input.npy"), Path(folder, "bench.log")
        write_random_images(inputs, kind, shape)
        try:
            done = local.execute(
                backend(facts["format"]).adapters[0].module, path, inputs, outputs=None, threads=measure.threads,
                bench=sampling(measure), log=log, timeout_s=_TIMEOUT_S,
            )  # fmt: skip
        except DeviceFailed as error:
            # The log goes with the folder; its last line is in the message.
            missing = {"value": None, "unavailable": str(error).removesuffix(f". The log is {log}")}
            return document | {"status": "runtime_failed"} | dict.fromkeys(_FIGURES, missing)
    return document | {"status": "ok"} | {key: getattr(done, key) for key in _FIGURES}


def facts_of(path: Path) -> tuple[dict[str, Any], str, list[int]]:
    """What `inspect` says of a classifier's file, the type of its input (float32 or uint8), and the input's shape at batch 1.

    Raises UserError for a file that is none, or that processors of devices don't run.
    """
    from edgedistill.backends.inspect import inspect

    facts = inspect(path)
    if not backend(facts["format"]).measured_here:
        others = ", ".join(own.suffix for own in backends().values() if own.measured_here)
        raise UserError(f"{path} is a file of {backend(facts['format']).title}, which no runtime here computes; expected one of {others}")
    return facts, *_port(path, facts)


def write_random_images(path: Path, kind: str, shape: list[int]) -> None:
    """Write images of random bytes to `path` (.npy), as uint8 or as float32 in 0..1; the same each time."""
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(path, pixels if kind == "uint8" else pixels.astype(np.float32) / np.float32(255))


def outputs_here(path: Path, form: str, inputs: Path, log: Path) -> np.ndarray | None:
    """What this machine's runtime gives for `inputs`: float32 [N, classes]; None where it can't run it, as `log` tells."""
    import numpy as np

    from edgedistill.measure import local

    with tempfile.TemporaryDirectory(prefix="edgedistill-") as folder:
        outputs = Path(folder, "outputs.npy")
        try:
            local.execute(
                backend(form).adapters[0].module, path, inputs, outputs=outputs, threads=1, bench=None, log=log, timeout_s=_TIMEOUT_S
            )
        except DeviceFailed:
            return None
        return np.load(outputs)


def _port(path: Path, facts: dict[str, Any]) -> tuple[str, list[int]]:
    """The type of the file's only input, float32 or uint8, and its shape, with a batch of 1 where the file leaves it open."""
    ports = facts["inputs"]
    if len(ports) != 1:
        raise UserError(f"{path} has {len(ports)} inputs, expected one image of float32 or uint8")
    kind, shape = ports[0]["type"], ports[0]["shape"]
    if kind not in ("float32", "uint8") or not isinstance(shape, list):
        said = kind if isinstance(kind, str) else "an unknown type"
        raise UserError(
            f"{path} takes {said} of shape {shape if isinstance(shape, list) else 'unknown'}, expected float32 or uint8 of a known shape"
        )
    if len(shape) != 4:
        raise UserError(f"{path} takes {kind} {shape}, expected an image [1, channels, height, width] or [1, height, width, channels]")
    if unknown := [str(size) for size in shape[1:] if not isinstance(size, int) or size < 1]:
        raise UserError(f"{path} takes {kind} {shape}, expected sizes for {', '.join(unknown)}; export it with a fixed shape")
    return kind, [1, *shape[1:]]
