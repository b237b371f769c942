"""Recipes and targets: the strict schema, loading, and every mistake at once. Nothing here imports torch."""

from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import LoadedRecipe, find_recipe, list_recipes, load_recipe
from edgedistill.recipe.schema import Recipe, recipe_schema
from edgedistill.recipe.targets import Target, list_targets, load_target

__all__ = [
    "LoadedRecipe",
    "Recipe",
    "RecipeError",
    "Target",
    "find_recipe",
    "list_recipes",
    "list_targets",
    "load_recipe",
    "load_target",
    "recipe_schema",
]
