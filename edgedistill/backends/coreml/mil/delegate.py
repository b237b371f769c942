"""Executes what a .pte gives to Core ML, when that is the whole program: a runner adapter around `mil_float16`.

It rounds what the package declares as float16; an int8 package declares none, and is computed in float64 as by `mil`.
What ExecuTorch does around the package, which is to copy inputs in and outputs out, is not executed.
"""

import tempfile
from pathlib import Path

from edgedistill.backends.coreml import payload as coreml_delegate
from edgedistill.backends.coreml.mil import float16 as mil_float16
from edgedistill.backends.coreml.mil.float16 import prepare, versions
from edgedistill.backends.executorch.inspect import whole_delegate
from edgedistill.measure.runner.naming import Signature
from edgedistill.measure.runner.samples import Forward

__all__ = ["load", "prepare", "versions"]


def load(path: str, threads: int, signature: Signature | None = None) -> Forward:
    """As `mil_float16.load`, of the package in a .pte. Raises ValueError where Core ML does not compute all of it, and as that does."""
    delegate, payload = whole_delegate(Path(path))
    if not coreml_delegate.is_payload(payload):
        raise ValueError(f"{path}: {delegate} is given no files, expected the model package of Core ML")
    with tempfile.TemporaryDirectory() as folder:
        return mil_float16.load(str(coreml_delegate.unpack(payload, Path(folder))), threads, signature)
