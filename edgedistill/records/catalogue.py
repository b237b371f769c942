"""What comes with the package: recipes, targets, and the schemas of documents."""

from __future__ import annotations

from edgedistill.recipe.loading import RecipeInfo
from edgedistill.recipe.targets import Target
from edgedistill.records.base import Record


class RecipeList(Record):
    """What `recipes` prints: the recipes of the package."""

    recipes: list[RecipeInfo]


class RecipeText(Record):
    """What `recipes NAME` prints: one recipe as it is written."""

    name: str
    text: str


class NewRecipe(Record):
    """What `init` prints: the recipe that it wrote, and the command that runs it."""

    path: str
    command: str


class TargetList(Record):
    """What `targets` prints: every target of the package, or the one that was named."""

    targets: list[Target]


class DocumentList(Record):
    """What `schema` prints: names of the documents that have a JSON Schema."""

    documents: list[str]
