"""Models of Hugging Face: loaded, made new, or cut from a teacher."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from edgedistill.errors import UserError
from edgedistill.recipe.base import nearest
from edgedistill.tasks.text.recipe import Argument, Cut

_LAYERS = ("num_hidden_layers", "n_layers", "num_layers")
"""What configurations call the number of layers."""


CLASSIFIER, PLAIN, CAUSAL = "AutoModelForSequenceClassification", "AutoModel", "AutoModelForCausalLM"
"""Kinds of models, as transformers names them: with a classifier, without any head, and with a head that gives the next token."""


def loaded(reference: str, field: str, kind: str = CLASSIFIER, attention: str = "eager", **options: Any) -> nn.Module:
    """The model of a folder or of the hub, without its own code, from safetensors. It gets a new head where the labels differ."""
    import transformers
    from transformers.utils import logging

    # It warns of weights that are new, which is what training is for.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return getattr(transformers, kind).from_pretrained(  # type: ignore[no-any-return]
            reference, use_safetensors=True, trust_remote_code=False, attn_implementation=attention, ignore_mismatched_sizes=True, **options
        )
    except (OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise UserError(f"{field}.hf: '{reference}' is no model of texts that transformers can load ({said})") from error


def new(
    config: dict[str, Argument | list[Argument]], field: str, kind: str = CLASSIFIER, attention: str = "eager", **facts: Any
) -> nn.Module:
    """A model with random weights by a configuration that `facts` completes."""
    import transformers

    return getattr(transformers, kind).from_config(  # type: ignore[no-any-return]
        configuration(config, field, **facts), attn_implementation=attention
    )


def configuration(config: dict[str, Argument | list[Argument]], field: str, **facts: Any) -> Any:
    """The configuration of transformers. Raises UserError for a type or an entry that it does not know."""
    from transformers import CONFIG_MAPPING

    own = {name: value for name, value in config.items() if name != "model_type"}
    kind = str(config["model_type"])
    if kind not in CONFIG_MAPPING:
        raise UserError(f"{field}.config: transformers has no model_type '{kind}'{nearest(kind, list(CONFIG_MAPPING))}")
    usual = CONFIG_MAPPING[kind]()
    # transformers keeps an entry that it does not know without a word.
    if unknown := [name for name in own if not hasattr(usual, name)]:
        raise UserError(f"{field}.config: {kind} has no '{unknown[0]}'{nearest(unknown[0], usual.to_dict())}")
    try:
        return CONFIG_MAPPING[kind](**{**own, **facts})
    except (TypeError, ValueError) as error:
        raise UserError(f"{field}.config: {kind} does not take it ({str(error).splitlines()[0]})") from error


def cut(teacher: Any, part: Cut) -> nn.Module:
    """A model of some layers of `teacher`, with its embeddings and its head: weights are copies.

    Raises UserError where the teacher has no list of layers, or not those.
    """
    name = next((name for name in _LAYERS if hasattr(teacher.config, name)), None)
    count = getattr(teacher.config, name) if name else 0
    numbers = _numbers(part, count)
    own = teacher.config.to_dict()
    # What configurations say of each layer, such as `layer_types`.
    each = {
        key: [value[n] for n in numbers] for key, value in own.items() if "layer" in key and isinstance(value, list) and len(value) == count
    }
    config = type(teacher.config).from_dict({**own, **each, name: len(numbers)})
    config._attn_implementation = teacher.config._attn_implementation
    student = type(teacher)(config)
    # Layers are the only lists of that many modules; in a state dict their numbers stand between dots.
    lists = [place for place, module in teacher.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if not lists:
        raise UserError(f"student.cut: {type(teacher).__name__} has no list of {count} layers; take student.config or student.hf")
    pattern = re.compile(rf"^({'|'.join(map(re.escape, lists))})\.(\d+)\.")
    source = teacher.state_dict()
    weights = {key: source[pattern.sub(lambda match: f"{match[1]}.{numbers[int(match[2])]}.", key)] for key in student.state_dict()}
    with torch.no_grad():
        student.load_state_dict(weights)
    return student


def _numbers(part: Cut, count: int) -> list[int]:
    if isinstance(part.layers, int):
        if part.layers > count:
            raise UserError(f"student.cut.layers: found {part.layers} layers, and the teacher has {count}")
        # The last layer is what the head was trained on.
        step = count / part.layers
        return [round(step * (place + 1)) - 1 for place in range(part.layers)]
    if wrong := [number for number in part.layers if number >= count]:
        raise UserError(f"student.cut.layers: found the number {wrong[0]}, and the teacher's layers are 0 to {count - 1}")
    return part.layers
