"""Modules of the user's with flat, named outputs: the student says which there are, and a teacher gives the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgedistill.errors import UserError
from edgedistill.signature import Signature
from edgedistill.tasks.code import load_checkpoint, made_by
from edgedistill.tasks.flatten import Flat, flat, flatten
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


def signature(student: Student, facts: ArrayFacts) -> Signature:
    """What a student takes and gives; UserError where its module fails on the inputs of the data."""
    key = f"{student.model_dump_json()} {facts.model_dump_json()}"
    if key not in _known:
        _known[key] = _examined(_made(student, None), student, facts)[1]
    return _known[key]


def build(config: Student | Teacher, student: Student, seed: int, facts: ArrayFacts, weights: Path | None) -> nn.Module:
    """The module of a student or teacher; see `Task.build`. UserError where a teacher gives other outputs than the student."""
    torch.manual_seed(seed)
    module = _made(config, weights)
    if isinstance(config, Student):
        return flat(module, facts.inputs)
    made, own = _examined(module, config, facts)
    outputs, expected = ([str(spec) for spec in of.outputs] for of in (own, signature(student, facts)))
    if sorted(outputs) != sorted(expected):
        raise UserError(f"the teacher {config.label} gives {', '.join(outputs)}, expected what the student gives: {', '.join(expected)}")
    return made if outputs == expected else Ordered(made, [outputs.index(text) for text in expected]).eval()


def _made(config: Student | Teacher, weights: Path | None) -> nn.Module:
    """The module that the user's function makes, with `weights` or its checkpoint."""
    module = made_by(config.torch, "student" if isinstance(config, Student) else "teacher")
    if (path := weights or config.checkpoint) is not None:
        load_checkpoint(module, path, config.torch)
    return module


def _examined(module: nn.Module, config: Student | Teacher, facts: ArrayFacts) -> tuple[Flat, Signature]:
    return flatten(module, facts.inputs, label=config.label, sample=example(facts.inputs, sizes=facts.sizes))
