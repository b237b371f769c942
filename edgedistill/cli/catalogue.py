"""The commands recipes and targets: the ones of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.cli.output import finish

if TYPE_CHECKING:
    from pydantic import JsonValue

    from edgedistill.records.catalogue import RecipeList, RecipeText, TargetList


def recipes(name: str | None, *, schema: bool, as_json: bool) -> None:
    """List recipes, print one, or print the schema (which is JSON in any case)."""
    if schema:
        finish(True, _schema, print)
    if name is not None:
        finish(as_json, lambda: _recipe(name), lambda recipe: print(recipe.text, end=""))
    finish(as_json, _recipes, _show_recipes)


def _schema() -> dict[str, JsonValue]:
    from edgedistill.recipe.schema import recipe_schema

    return recipe_schema()


def _recipe(name: str) -> RecipeText:
    from edgedistill.recipe.loading import find_recipe
    from edgedistill.records.catalogue import RecipeText

    path, shown = find_recipe(name)
    return RecipeText(name=shown, text=path.read_text(encoding="utf-8"))


def _recipes() -> RecipeList:
    from edgedistill.recipe.loading import list_recipes
    from edgedistill.records.catalogue import RecipeList

    return RecipeList(recipes=list_recipes())


def _show_recipes(listed: RecipeList) -> None:
    for recipe in listed.recipes:
        print(f"{recipe.name}\n  {recipe.description}\n  {recipe.command}")


def targets(name: str | None, *, as_json: bool) -> None:
    """List targets, or show one."""

    def work() -> TargetList:
        from edgedistill.recipe.targets import list_targets, load_target
        from edgedistill.records.catalogue import TargetList

        return TargetList(targets=[load_target(target) for target in ([name] if name else list_targets())])

    finish(as_json, work, _show_targets)


def _show_targets(listed: TargetList) -> None:
    from edgedistill.recipe.inputs import DEFAULT

    for target in listed.targets:
        files = [(a.format, a.precision, a.input, a.delegate) for a in target.artifacts]
        texts = [" ".join(value for value in file if value not in (None, DEFAULT)) for file in files]
        print(f"{target.name} ({target.minimum_os})\n  {target.description}\n  {', '.join(texts)}")
