"""Modules of the user's with flat, named outputs: the student says which there are, and a teacher gives the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.recipe.base import Config
from edgedistill.recipe.schema import Recipe
from edgedistill.signature import Signature
from edgedistill.tasks.code import load_checkpoint, made_by
from edgedistill.tasks.flatten import Flat, flatten
from edgedistill.tasks.modules import example
from edgedistill.tasks.tensors.recipe import Student, Teacher
from edgedistill.tasks.tensors.task import ArrayFacts

_known: dict[str, Signature] = {}
"""Signatures of students, by what they depend on: finding one runs the module."""


class Ordered(nn.Module):
    """A module with several outputs, in another order."""

    def __init__(self, flat: Flat, places: list[int]) -> None:
        super().__init__()
        self.flat, self.places = flat, places

    @property
    def model(self) -> nn.Module:
        """The user's module."""
        return self.flat.model

    def forward(self, *inputs: Tensor) -> Any:
        """The outputs in that order."""
        given = self.flat(*inputs)
        return tuple(given[place] for place in self.places)


def signature(student: Config, facts: ArrayFacts) -> Signature:
    """What a student takes and gives; UserError where its module fails on the inputs of the data."""
    key = f"{student.model_dump_json()} {facts.model_dump_json()}"
    if key not in _known:
        _known[key] = _flat(student, facts, "student")[1]
    return _known[key]


def build(config: Config, recipe: Recipe, facts: ArrayFacts, weights: Path | None) -> nn.Module:
    """The module of a student or teacher; see `Task.build`. UserError where a teacher gives other outputs than the student."""
    assert isinstance(config, (Student, Teacher))
    torch.manual_seed(recipe.seed)
    flat, own = _flat(config, facts, "student" if isinstance(config, Student) else "teacher")
    if weights is not None:
        load_checkpoint(flat.model, weights, config.label)
    if isinstance(config, Student):
        return flat
    wanted = signature(recipe.student, facts)
    found, expected = ([str(spec) for spec in of.outputs] for of in (own, wanted))
    if sorted(found) != sorted(expected):
        raise UserError(f"the teacher {config.label} gives {', '.join(found)}, expected what the student gives: {', '.join(expected)}")
    return flat if found == expected else Ordered(flat, [found.index(text) for text in expected]).eval()


def _flat(config: Any, facts: ArrayFacts, field: str) -> tuple[Flat, Signature]:
    module = made_by(config.torch, field)
    if config.checkpoint is not None:
        load_checkpoint(module, config.checkpoint, config.torch)
    return flatten(module, facts.inputs, label=config.label, sample=example(facts.inputs, sizes=facts.sizes))
