"""What models of texts of Hugging Face say themselves: their tokenizer, and how many tokens they take."""

from __future__ import annotations

import json
from pathlib import Path

from edgedistill.errors import UserError
from edgedistill.tasks.hub_models import CONFIG, config_of
from edgedistill.tasks.text import tokenizing

MOST = 128
"""Most tokens of a text: every file takes as many at each call, and longer ones cost an app time for texts that are seldom so long."""
_SENTENCES = "sentence_bert_config.json"
_SMALLEST = 8


def data_of(folder: Path) -> dict[str, object]:
    """Fields of the data for the model in `folder`. UserError where it has no tokenizer."""
    length = _length(folder)
    # Told now, and not after the texts were read.
    tokenizing.found(str(folder), length)
    return {"tokenizer": str(folder), "length": length}


def _length(folder: Path) -> int:
    config = config_of(folder)
    limits = [MOST]
    if isinstance(positions := getattr(config, "max_position_embeddings", None), int):
        # RoBERTa and its kin count positions from the one behind that of padding.
        limits.append(positions - (config.pad_token_id + 1 if config.model_type in _BEHIND_PADDING else 0))
    if (folder / _SENTENCES).is_file():
        limits += [most] if isinstance(most := _read(folder / _SENTENCES).get("max_seq_length"), int) else []
    if min(limits) < _SMALLEST:
        raise UserError(f"{folder / CONFIG}: found room for {min(limits)} tokens, expected at least {_SMALLEST}")
    return min(limits)


_BEHIND_PADDING = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet", "longformer"})


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read as JSON ({str(error).splitlines()[0]})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: found {type(found).__name__}, expected a JSON object")
    return found
