"""What finds personal data: the interface, and the registry of its implementations.

A package adds an engine by a subclass of `Engine`, an instance of which it registers in the entry point group `edgedistill.scrubbers`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from edgedistill.errors import UserError
from edgedistill.plugins import registered
from edgedistill.recipe.base import one_of
from edgedistill.recipe.scrub import Scrub

GROUP = "edgedistill.scrubbers"


@dataclass(frozen=True)
class Finding:
    """A value of `kind` at the characters `start` to `end` of a text."""

    start: int
    end: int
    kind: str


class Scrubber(Protocol):
    """An engine that is ready to read texts."""

    def find(self, text: str, context: str | None = None) -> list[Finding]:
        """The personal data in `text`, in any order; findings may overlap.

        context: words that say what the text is, such as the name of its field. Whatever it raises means that the text was not read.
        """


class Engine(ABC):
    """Something that finds personal data."""

    name: str
    """Its name in recipes: `engine: NAME`."""

    @abstractmethod
    def identity(self, config: Scrub) -> str:
        """Changes with whatever could change what is found, such as versions of packages; nothing is loaded.

        Raises UserError where something that it needs is missing.
        """

    @abstractmethod
    def load(self, config: Scrub) -> Scrubber:
        """The engine as a recipe wants it. Raises UserError as `identity` does."""


@cache
def engines() -> dict[str, Engine]:
    """All engines by name."""
    from edgedistill.teach.scrub.presidio import Presidio

    return registered(GROUP, Engine, [Presidio()], lambda engine: engine.name)  # type: ignore[type-abstract]


def engine(config: Scrub) -> Engine:
    """The engine that a recipe names. Raises UserError where there is none of this name."""
    if config.engine not in engines():
        raise UserError(f"scrub.engine: found '{config.engine}', expected {one_of(config.engine, engines())}")
    return engines()[config.engine]
