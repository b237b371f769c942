"""The modules of students and teachers: tokens and their mask to an embedding."""

from __future__ import annotations

from pathlib import Path

import torch

from edgedistill.errors import UserError
from edgedistill.recipe.base import Config
from edgedistill.recipe.schema import Recipe
from edgedistill.tasks import hub_models
from edgedistill.tasks.code import load_checkpoint
from edgedistill.tasks.embedding.model import Embedder, width_of
from edgedistill.tasks.embedding.pooling import Pooling, pooling_of
from edgedistill.tasks.embedding.recipe import CutEmbedder, HubEmbedder, NewEmbedder, Pooled, Teacher
from edgedistill.tasks.embedding.task import EmbeddingFacts
from edgedistill.tasks.embedding.tokens import drop_positions, shrink
from edgedistill.tasks.text import models
from edgedistill.tasks.text.encoder import check, first_position
from edgedistill.tasks.text.recipe import HubModel


def build(config: Config, recipe: Recipe, facts: EmbeddingFacts, weights: Path | None) -> Embedder:
    """The module of a student or teacher in evaluation mode; see `Task.build`. Raises UserError where it does not fit the tokens."""
    assert isinstance(config, (Teacher, HubEmbedder, NewEmbedder, CutEmbedder))
    torch.manual_seed(recipe.seed)
    field = "student" if config is recipe.student else "teacher"
    if isinstance(config, CutEmbedder):
        assert isinstance(recipe.teacher, Teacher)
        model = models.cut(models.loaded(recipe.teacher.hf, "teacher", models.PLAIN), config.cut)
        seen = torch.from_numpy(facts.seen()) if config.cut.vocabulary == "train" else None
        if seen is not None or config.cut.token_width is not None:
            shrink(model, seen=seen, rank=config.cut.token_width, narrow=config.cut.unseen_width)
        drop_positions(model, (first_position(model) or 0) + facts.length)
        _without_dropout(model)
    elif isinstance(config, NewEmbedder):
        model = models.new(config.config, field, models.PLAIN, vocab_size=facts.vocabulary, pad_token_id=facts.padding)
    elif recipe.distill is None:
        # It comes trained: nothing of it may be drawn at random, but the pooler, which pooling leaves out.
        model = hub_models.trained(models.PLAIN, hub_models.place(config.hf).folder, without="pooler.")
    else:
        model = models.loaded(config.hf, field, models.PLAIN)
    dimensions = dimensions_of(recipe)
    projected = width_of(model.config) != dimensions or getattr(config, "projection", False)
    module = Embedder(model, pooling(config, recipe), dimensions if projected else None).eval()
    check(module, config.label, facts)
    if weights is not None:
        load_checkpoint(saved(module), weights, config.label)
    return module


def _without_dropout(model: torch.nn.Module) -> None:
    """A student that begins near its teacher is held to exact answers; a new one has the dropout that its configuration names."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def saved(module: Embedder) -> torch.nn.Module:
    """What of a module is saved: the model as transformers knows it, or the whole where a projection belongs to it."""
    return module.model if module.projection is None else module


def pooling(config: Config, recipe: Recipe) -> Pooling:
    """How a student or teacher pools; a student does what it leaves open as its teacher does."""
    assert isinstance(config, Pooled)
    if isinstance(config, Teacher) or recipe.teacher is None:
        return pooling_of(config, getattr(config, "hf", None), "teacher" if isinstance(config, Teacher) else "student")
    usual = pooling(recipe.teacher, recipe)
    return Pooling(config.pooling or usual.mode, usual.normalize if config.normalize is None else config.normalize)


def dimensions_of(recipe: Recipe) -> int:
    """Numbers of an embedding: those of the teacher, or of a student that comes trained."""
    from transformers import AutoConfig

    source, field = (recipe.student, "student") if recipe.teacher is None else (recipe.teacher, "teacher")
    assert isinstance(source, HubModel)
    try:
        return width_of(AutoConfig.from_pretrained(source.hf, trust_remote_code=False))
    except (OSError, ValueError, AttributeError) as error:
        said = str(error).strip().splitlines()[0]
        raise UserError(f"{field}.hf: '{source.hf}' is no model of texts that transformers can load ({said})") from error
