"""How a model of sentences pools its tokens, as sentence-transformers writes it beside the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from edgedistill.errors import UserError
from edgedistill.tasks.embedding.recipe import Pooled

_MODULES = "modules.json"
_KNOWN = ("Transformer", "Pooling", "Normalize")
_MODE = "pooling_mode_"
_MODES = {"mean_tokens": "mean", "cls_token": "cls"}


@dataclass(frozen=True)
class Pooling:
    """How the vectors of all tokens become one embedding."""

    mode: Literal["mean", "cls"] = "mean"
    normalize: bool = True


def pooling_of(config: Pooled, reference: str | None, field: str) -> Pooling:
    """What `config` says, and what it leaves open of the model `reference`, a folder or a name on the hub; None for a new model.

    Raises UserError where the files of the model ask for something else than the mean or the first token.
    """
    found = Pooling() if reference is None or None not in (config.pooling, config.normalize) else _read(reference, config, field)
    return Pooling(config.pooling or found.mode, found.normalize if config.normalize is None else config.normalize)


def _read(reference: str, config: Pooled, field: str) -> Pooling:
    modules = _json(reference, _MODULES, field)
    if modules is None:
        return Pooling()
    kinds = {str(module["type"]).rpartition(".")[2]: module for module in modules}
    if unknown := [kind for kind in kinds if kind not in _KNOWN]:
        raise UserError(f"{field}.hf: {reference} has the module {unknown[0]} in {_MODULES}, expected {', '.join(_KNOWN)} alone")
    normalize = "Normalize" in kinds
    if config.pooling is not None or "Pooling" not in kinds:
        return Pooling(normalize=normalize)
    name = f"{kinds['Pooling']['path']}/config.json"
    chosen = [key.removeprefix(_MODE) for key, value in (_json(reference, name, field) or {}).items() if key.startswith(_MODE) and value]
    if len(chosen) != 1 or chosen[0] not in _MODES:
        asked = " and ".join(chosen) or "nothing"
        raise UserError(f"{field}.hf: {reference} asks for {asked} in {name}, expected {' or '.join(_MODES)}; or name {field}.pooling")
    return Pooling(cast(Any, _MODES[chosen[0]]), normalize)


def _json(reference: str, name: str, field: str) -> Any:
    """A file beside the model, None where there is none."""
    from transformers.utils.hub import cached_file

    try:
        path = cached_file(reference, name, _raise_exceptions_for_missing_entries=False)
        return None if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{field}.hf: {name} of '{reference}' is not readable ({str(error).splitlines()[0]})") from error
