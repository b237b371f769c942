"""Modules that a function of the user's makes. A recipe may name one only where the user allows it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.files import sha256_file

if TYPE_CHECKING:
    from torch import nn


def made_by(reference: str, field: str) -> nn.Module:
    """The module that the function `package.module:function` gives; UserError that names `field` of the recipe where it gives none."""
    from torch import nn

    name, _, function = reference.partition(":")
    with _own_folder():
        try:
            made = getattr(importlib.import_module(name), function)()
        except (ImportError, AttributeError) as error:
            expected = "expected a function in a module that Python finds"
            raise UserError(f"{field}.torch: {reference} can't be loaded ({error}); {expected}") from error
    if not isinstance(made, nn.Module):
        raise UserError(f"{field}.torch: {reference} gave {type(made).__name__}, expected a torch.nn.Module")
    return made


def code_hash(reference: str) -> str | None:
    """Hash of the file whose code makes the module: its weights alone do not tell what it computes. None where there is no such file."""
    with _own_folder():
        try:
            spec = find_spec(reference.partition(":")[0])
        except ImportError:
            return None
    path = None if spec is None or spec.origin is None else Path(spec.origin)
    return sha256_file(path) if path is not None and path.is_file() else None


@contextmanager
def _own_folder() -> Iterator[None]:
    """Let Python find modules in the current folder, which is not on the path of an installed script."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
