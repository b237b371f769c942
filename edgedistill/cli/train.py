"""The commands run and distill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish
from edgedistill.cli.tables import show_summary

if TYPE_CHECKING:
    from edgedistill.records.summary import Summary


def train(
    recipe: str, overrides: list[str], threads: int | None, runs_dir: Path, *, whole: bool, fresh: bool, trust_code: bool, as_json: bool
) -> None:
    """Do the flow of `recipe`: the whole of it, or up to the quantized state. threads: None for what the recipe says."""
    overrides = overrides if threads is None else [*overrides, f"threads={threads}"]

    def work() -> Summary | None:
        from edgedistill.recipe.loading import load_recipe

        # Report every mistake of the recipe before importing the steps, which import torch.
        loaded = load_recipe(recipe, overrides, trust_code=trust_code)
        from edgedistill.steps import flow

        return (flow.run if whole else flow.distill)(loaded, runs_dir, fresh=fresh)

    finish(as_json, work, show_summary)
