"""The commands run and distill."""

from pathlib import Path

from edgedistill.cli.output import finish
from edgedistill.cli.tables import show_summary


def run(recipe: str, overrides: list[str], runs_dir: Path, *, fresh: bool, as_json: bool) -> None:
    """Do the whole flow of `recipe`."""

    def work() -> dict:
        from edgedistill.recipe.load import load_recipe

        # Every mistake of the recipe is told before the pipeline, and torch with it, is imported.
        loaded = load_recipe(recipe, overrides)
        from edgedistill import pipeline

        return pipeline.run(loaded, runs_dir, fresh=fresh)

    finish(as_json, work, show_summary)


def distill(recipe: str, overrides: list[str], runs_dir: Path, *, fresh: bool, as_json: bool) -> None:
    """Teach and train `recipe`, up to the quantized state."""

    def work() -> dict:
        from edgedistill.recipe.load import load_recipe

        loaded = load_recipe(recipe, overrides)
        from edgedistill import pipeline

        return pipeline.distill(loaded, runs_dir, fresh=fresh)

    finish(as_json, work, show_summary)
