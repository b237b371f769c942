"""Jobs for the runner: what they hold, and what a job looks like where it runs."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgedistill.signature import MethodSignature, TensorSpec

SCHEMA = 3
_SENT, _FETCHED = ("artifact", "inputs"), ("outputs",)


def new_job(task: str, **fields: Any) -> dict[str, Any]:
    """A job with a nonce of its own.

    Files are paths on this machine, at the top or in a mapping such as `a`. The path `artifact` and those of the mapping `inputs` (by name)
    are read, those of `outputs` are written. `signature` is what `described_method` makes.
    """
    return {"schema": SCHEMA, "nonce": secrets.token_hex(16), "task": task, "conditions": None, **fields}


def described_method(method: MethodSignature) -> dict[str, list[dict[str, Any]]]:
    """The `signature` of a job: name, dtype and shape of each input and output of a method, in their order."""
    return {
        kind: [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in specs]
        for kind, specs in (("inputs", method.inputs), ("outputs", method.outputs))
    }


def by_name(specs: Sequence[TensorSpec], paths: Path | Mapping[str, Path]) -> dict[str, Path]:
    """A .npy for each spec: in the folder `paths`, the file `paths` itself where there is one spec, or what the mapping says."""
    if isinstance(paths, Mapping):
        return dict(paths)
    if paths.suffix == ".npy" and len(specs) == 1:
        return {specs[0].name: paths}
    return {spec.name: paths / f"{spec.name}.npy" for spec in specs}


def placed(job: Mapping[str, Any], send: Callable[[Path], str], fetch: Callable[[Path], str]) -> dict[str, Any]:
    """`job` as it is written for the runner: files that it reads go through `send`, those that it writes through `fetch`."""
    ways = {**dict.fromkeys(_SENT, send), **dict.fromkeys(_FETCHED, fetch)}
    found: dict[str, Any] = {}
    for key, value in job.items():
        if isinstance(value, Path):
            found[key] = ways[key](value)
        elif isinstance(value, Mapping) and key in ways:
            found[key] = {name: ways[key](path) for name, path in value.items()}
        else:
            found[key] = placed(value, send, fetch) if isinstance(value, Mapping) else value
    return found


def described(job: Mapping[str, Any]) -> str:
    """The job's files and adapters in a few words, for messages."""
    sides = [job[side] for side in ("a", "b") if isinstance(job.get(side), Mapping)] or [job]
    return " and ".join(f"{side['artifact']} with {side['adapter']}" for side in sides)
