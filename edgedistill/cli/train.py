"""The commands run and distill."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgedistill.cli.output import finish
from edgedistill.cli.tables import show_summary


def run(recipe: str, overrides: list[str], runs_dir: Path, *, fresh: bool, trust_code: bool, as_json: bool) -> None:
    """Do the whole flow of `recipe`."""

    def flow() -> Callable[..., Any]:
        from edgedistill import pipeline

        return pipeline.run

    _train(flow, recipe, overrides, runs_dir, fresh=fresh, trust_code=trust_code, as_json=as_json)


def distill(recipe: str, overrides: list[str], runs_dir: Path, *, fresh: bool, trust_code: bool, as_json: bool) -> None:
    """Teach and train `recipe`, up to the quantized state."""

    def flow() -> Callable[..., Any]:
        from edgedistill import pipeline

        return pipeline.distill

    _train(flow, recipe, overrides, runs_dir, fresh=fresh, trust_code=trust_code, as_json=as_json)


def _train(
    flow: Callable[[], Callable[..., Any]],
    recipe: str,
    overrides: list[str],
    runs_dir: Path,
    *,
    fresh: bool,
    trust_code: bool,
    as_json: bool,
) -> None:
    def work() -> dict:
        from edgedistill.recipe.load import load_recipe

        # Every mistake of the recipe is told before the pipeline, and torch with it, is imported.
        loaded = load_recipe(recipe, overrides, trust_code=trust_code)
        return flow()(loaded, runs_dir, fresh=fresh)

    finish(as_json, work, show_summary)
