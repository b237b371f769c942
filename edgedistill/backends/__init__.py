"""Formats of model files: what is known of each, and what lowers, reads and runs it. Nothing here imports torch or a runtime.

A format is a plug-in: a package that adds one registers a `Backend` in the entry point group `edgedistill.backends`.
"""

from __future__ import annotations

import functools
from pathlib import Path

from edgedistill.backends.base import Adapter, Backend, Delegate
from edgedistill.errors import UserError
from edgedistill.plugins import registered

__all__ = ["GROUP", "Adapter", "Backend", "Delegate", "arithmetic", "backend", "backends", "formats", "of_suffix"]

GROUP = "edgedistill.backends"


@functools.cache
def backends() -> dict[str, Backend]:
    """All backends by format, the project's own first.

    Raises UserError when two packages register one format, with the names of both, or when an entry point is no Backend.
    """
    from edgedistill.backends.coreai.facts import COREAI
    from edgedistill.backends.coreml.facts import COREML
    from edgedistill.backends.executorch.facts import EXECUTORCH
    from edgedistill.backends.litert.facts import LITERT
    from edgedistill.backends.onnx.facts import ONNX, ORT

    return registered(GROUP, Backend, (EXECUTORCH, LITERT, ONNX, ORT, COREML, COREAI), lambda plugin: plugin.format)


def backend(format_: str) -> Backend:
    """The backend of a format. Raises UserError with the known formats for another name."""
    if format_ not in backends():
        raise UserError(f"found the format '{format_}', expected one of {', '.join(backends())}")
    return backends()[format_]


def formats() -> tuple[str, ...]:
    """Names of all formats."""
    return tuple(backends())


def of_suffix(path: Path) -> Backend | None:
    """The backend whose files have the suffix of `path`; None where no format has it."""
    return next((known for known in backends().values() if known.suffix == path.suffix.lower()), None)


def arithmetic(format_: str, delegate: str | None = None) -> Backend:
    """The backend whose arithmetic computes a file of a format, which a delegate can change."""
    own = backend(format_)
    return backend(own.delegates[delegate].executed_as or format_) if delegate else own
