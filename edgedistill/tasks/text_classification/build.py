"""The modules of students and teachers: tokens and their mask to logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edgedistill.errors import UserError
from edgedistill.recipe.base import Config
from edgedistill.recipe.schema import Recipe
from edgedistill.tasks import hub_models
from edgedistill.tasks.code import load_checkpoint
from edgedistill.tasks.text import models
from edgedistill.tasks.text.encoder import Encoder, check
from edgedistill.tasks.text.recipe import CutStudent, HubModel, NewModel
from edgedistill.tasks.text_classification.recipe import HubClassifier
from edgedistill.tasks.text_classification.task import TextFacts


def build(config: Config, recipe: Recipe, facts: TextFacts, weights: Path | None) -> Encoder:
    """The module of a student or teacher in evaluation mode; see `Task.build`. Raises UserError where it does not fit the tokens."""
    torch.manual_seed(recipe.seed)
    field = "student" if config is recipe.student else "teacher"
    if isinstance(config, CutStudent):
        assert isinstance(recipe.teacher, HubClassifier)
        model = models.cut(models.loaded(recipe.teacher.hf, "teacher", **_labels(facts)), config.cut)
    elif isinstance(config, NewModel):
        model = models.new(config.config, field, vocab_size=facts.vocabulary, pad_token_id=facts.padding, **_labels(facts))
    elif recipe.distill is None:
        assert isinstance(config, HubModel)
        # It comes trained: nothing of it may be drawn at random.
        model = hub_models.trained(models.CLASSIFIER, hub_models.place(config.hf).folder)
        _check_labels(model, facts, config.label)
    else:
        assert isinstance(config, HubModel)
        model = models.loaded(config.hf, field, **_labels(facts))
    module = Encoder(model).eval()
    label: Any = config.label  # type: ignore[attr-defined]
    check(module, label, facts)
    if weights is not None:
        load_checkpoint(model, weights, label)
    return module


def _check_labels(model: Any, facts: TextFacts, label: str) -> None:
    if (count := model.config.num_labels) != len(facts.classes):
        raise UserError(
            f"{label} has {count} outputs, and the texts have {len(facts.classes)} labels: name those of its outputs by data.classes"
        )


def _labels(facts: TextFacts) -> dict[str, Any]:
    return {
        "num_labels": len(facts.classes), "id2label": dict(enumerate(facts.classes)),
        "label2id": {name: number for number, name in enumerate(facts.classes)},
    }  # fmt: skip
