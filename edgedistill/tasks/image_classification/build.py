"""The modules of students and teachers: images in 0..1 to logits."""

from pathlib import Path

import torch
from torch import nn

from edgedistill.recipe.base import Config
from edgedistill.recipe.schema import Recipe
from edgedistill.tasks.code import load_checkpoint, made_by
from edgedistill.tasks.image_classification import huggingface
from edgedistill.tasks.image_classification.models import build_model
from edgedistill.tasks.image_classification.preprocessed import Preprocessed
from edgedistill.tasks.image_classification.recipe.data import Data
from edgedistill.tasks.image_classification.recipe.student import HuggingFaceStudent, Student, TorchStudent
from edgedistill.tasks.image_classification.recipe.teachers import HuggingFaceTeacher, TimmTeacher, TorchTeacher

TorchModel = TimmTeacher | HuggingFaceTeacher | TorchTeacher


def build(config: Config, recipe: Recipe, classes: list[str], weights: Path | None) -> nn.Module:
    """The module of a student or teacher in evaluation mode; see `Task.build`."""
    assert isinstance(recipe.data, Data)
    if isinstance(config, (Student, TorchStudent, HuggingFaceStudent)):
        return _student(config, recipe.data, len(classes), recipe.seed, weights)
    assert isinstance(config, TorchModel)
    if weights is None:
        return build_module(config, recipe.data, classes, recipe.seed)
    start = {"checkpoint": None, "pretrained": False} if isinstance(config, TimmTeacher) else {}
    module = build_module(config.model_copy(update=start), recipe.data, classes, recipe.seed)
    load_checkpoint(module.model, weights, config.label)  # type: ignore[arg-type]
    return module


def _student(
    config: Student | TorchStudent | HuggingFaceStudent, data: Data, classes: int, seed: int, weights: Path | None
) -> Preprocessed:
    """The student with the normalisation in front, as it starts, or with trained weights. The same seed gives the same weights."""
    if isinstance(config, TorchStudent):
        torch.manual_seed(seed)
        return Preprocessed(torch_module(config, "student"), tuple(data.mean), tuple(data.std)).eval()
    if isinstance(config, HuggingFaceStudent):
        return Preprocessed(huggingface.trained(config), tuple(data.mean), tuple(data.std)).eval()
    checkpoint = None if weights or config.checkpoint is None else str(config.checkpoint)
    pretrained = config.pretrained and weights is None
    arguments, activation = config.arguments, config.activation
    model = build_model(
        config.model, classes, checkpoint=checkpoint, pretrained=pretrained, seed=seed, arguments=arguments, activation=activation
    )
    if weights is not None:
        load_checkpoint(model, weights, config.model)
    return Preprocessed(model, tuple(data.mean), tuple(data.std)).eval()


def build_module(config: TorchModel, data: Data, classes: list[str], seed: int) -> nn.Module:
    """The module of a teacher with the weights that its recipe names, in evaluation mode: images in 0..1 to its own logits."""
    if isinstance(config, TimmTeacher):
        count = len(config.classes or classes)
        path = None if config.checkpoint is None else str(config.checkpoint)
        model = build_model(config.model, count, checkpoint=path, pretrained=config.pretrained, seed=seed)
        return Preprocessed(model, tuple(data.mean), tuple(data.std)).eval()
    if isinstance(config, HuggingFaceTeacher):
        return huggingface.load(config, data, classes, seed).eval()
    return torch_module(config).eval()


def torch_module(config: TorchTeacher | TorchStudent, field: str = "teacher") -> nn.Module:
    """The module that a function of the user's makes, with its checkpoint; UserError where it can't be had."""
    module = made_by(config.torch, field)
    if config.checkpoint is not None:
        load_checkpoint(module, config.checkpoint, config.torch)
    return module
