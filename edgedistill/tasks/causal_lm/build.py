"""The modules of students and teachers: tokens and their positions to the logits of the next tokens."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgedistill.errors import UserError
from edgedistill.recipe.base import Config
from edgedistill.recipe.schema import Recipe
from edgedistill.tasks.causal_lm import chat
from edgedistill.tasks.causal_lm.decoder import Decoder, check
from edgedistill.tasks.causal_lm.facts import LanguageFacts
from edgedistill.tasks.causal_lm.recipe import CutStudent, Lora
from edgedistill.tasks.causal_lm.task import data_of, tells_sorted
from edgedistill.tasks.code import load_checkpoint
from edgedistill.tasks.text import models
from edgedistill.tasks.text.recipe import HubModel, NewModel

_ATTENTION = "sdpa"


def build(config: Config, recipe: Recipe, facts: LanguageFacts, weights: Path | None) -> Decoder:
    """The module of a student or teacher in evaluation mode; see `Task.build`. Raises UserError where it does not fit the tokens.

    With `lora`, one that starts (`weights` is None) has the matrices that are trained; those that were trained are merged.
    """
    torch.manual_seed(recipe.seed)
    field = "student" if config is recipe.student else "teacher"
    if isinstance(config, CutStudent):
        assert isinstance(recipe.teacher, HubModel)
        model = models.cut(_loaded(recipe.teacher.hf, "teacher"), config.cut)
    elif isinstance(config, NewModel):
        ends = {"vocab_size": facts.vocabulary, "pad_token_id": facts.padding, "eos_token_id": facts.end, "bos_token_id": None}
        model = models.new(config.config, field, models.CAUSAL, _ATTENTION, max_position_embeddings=_positions(config, facts), **ends)
    else:
        assert isinstance(config, HubModel)
        model = _loaded(config.hf, field)
    label: Any = config.label  # type: ignore[attr-defined]
    # What ends and fills up texts is what the tokenizer of the data says.
    model.config.eos_token_id, model.config.pad_token_id = facts.end, facts.padding  # type: ignore[union-attr]
    if weights is not None:
        load_checkpoint(model, weights, label)
    elif (lora := getattr(config, "lora", None)) is not None:
        model = _adapted(model, lora, f"{field}.lora")
    module = Decoder(model).eval()
    if field == "teacher" and tells_sorted(recipe):
        check(module, label, model.config.vocab_size, 2 * facts.length)  # type: ignore[union-attr, arg-type]
        return module
    if (source := getattr(config, "hf", None)) is not None:
        _check_vocabulary(source, label, recipe, facts)
    check(module, label, facts.vocabulary, facts.length)
    return module


def _check_vocabulary(source: str, label: str, recipe: Recipe, facts: LanguageFacts) -> None:
    """Raise UserError where a model was trained with another tokenizer than that of the data."""
    named = data_of(recipe).tokenizer
    if named is None or named == source:
        return
    try:
        own = chat.found(source)
    except UserError:
        # A folder without a tokenizer does not say which one it takes.
        return
    if own.identity != facts.tokenizer:
        raise UserError(
            f"{label} has a vocabulary of {own.vocabulary:,} tokens, and data.tokenizer another one of {facts.vocabulary:,}, so that their "
            "logits cannot be compared: leave data.tokenizer out, or take the loss uld (with ce) as the only one that needs the teacher"
        )


def _loaded(reference: str, field: str) -> nn.Module:
    return models.loaded(reference, field, models.CAUSAL, _ATTENTION, dtype=torch.float32)


def _positions(config: NewModel, facts: LanguageFacts) -> int:
    """The positions that a new model has: as many as it says, or as the rows need."""
    said = config.config.get("max_position_embeddings")
    return said if isinstance(said, int) else facts.length


def _adapted(model: nn.Module, lora: Lora, field: str) -> nn.Module:
    """`model` with low-rank matrices that are trained, all else frozen. Raises UserError where it has no such layers."""
    from edgedistill.packages import require

    require("llm")
    from peft import LoraConfig, get_peft_model

    layers: Any = lora.layers or "all-linear"
    options = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=layers, task_type="CAUSAL_LM")  # type: ignore[arg-type]
    try:
        return get_peft_model(model, options)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(f"{field}.layers: {str(error).splitlines()[0]}") from error


def merged(model: nn.Module) -> nn.Module:
    """The model as transformers knows it: with low-rank matrices merged into a copy, where it has some."""
    if not hasattr(model, "merge_and_unload"):
        return model
    return copy.deepcopy(model).merge_and_unload()  # type: ignore[operator, no-any-return]
