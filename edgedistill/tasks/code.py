"""Modules that a function of the user's makes, and their weights. A recipe may name a function only where the user allows it."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections import OrderedDict
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
            make = getattr(importlib.import_module(name), function)
        except (ModuleNotFoundError, AttributeError) as error:
            expected = "expected a function in a module that Python finds"
            raise UserError(f"{field}.torch: {reference} can't be loaded ({error}); {expected}") from error
        except Exception as error:
            # Code of the user's raises anything.
            raise UserError(f"{field}.torch: importing {name} raised {_raised(error)}") from error
        try:
            made = make()
        except Exception as error:
            raise UserError(f"{field}.torch: {reference} raised {_raised(error)}") from error
    if not isinstance(made, nn.Module):
        raise UserError(f"{field}.torch: {reference} gave {type(made).__name__}, expected a torch.nn.Module")
    return made


def _raised(error: Exception) -> str:
    """An exception of the user's code, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}: {error}"


def code_hash(reference: str) -> str | None:
    """Hash of the file whose code makes the module: its weights alone do not tell what it computes. None where there is no such file."""
    with _own_folder():
        try:
            spec = find_spec(reference.partition(":")[0])
        except ImportError:
            return None
    path = None if spec is None or spec.origin is None else Path(spec.origin)
    return sha256_file(path) if path is not None and path.is_file() else None


def load_checkpoint(model: nn.Module, path: Path, name: str) -> None:
    """Load a safetensors state dict into `model`, whole: no key may be missing, unknown or of another shape."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable safetensors checkpoint ({error})") from error
    own = model.state_dict()
    wrong = [f"missing {key}" for key in own if key not in state] + [f"unknown {key}" for key in state if key not in own]
    wrong += [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(f"{path}: does not fit {name}: {'; '.join(wrong[:3])}{more}. Give the checkpoint of this model with these classes.")
    # A safetensors file has no versions of layers, and a layer that misses its own takes the weights for those of an old one.
    versioned = OrderedDict(state)
    versioned._metadata = getattr(own, "_metadata", {})  # type: ignore[attr-defined]
    model.load_state_dict(versioned)


@contextmanager
def _own_folder() -> Iterator[None]:
    """Let Python find modules in the current folder, which is not on the path of an installed script."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
