"""The command advise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.cli.output import finish
from edgedistill.cli.tables import console

if TYPE_CHECKING:
    from edgedistill.records.advice import Advice


def advise(recipe: str, overrides: list[str], runs_dir: Path, *, trust_code: bool, as_json: bool) -> None:
    """Say whether distillation is the right tool for `recipe`."""

    def work() -> Advice:
        from edgedistill.recipe.loading import load_recipe

        loaded = load_recipe(recipe, overrides, trust_code=trust_code)
        from edgedistill.steps.advise.document import advise

        return advise(loaded, runs_dir)

    finish(as_json, work, _show)


def _show(advice: Advice) -> None:
    """The advice in words, then each finding with what to do about it, and where its figures are from."""
    screen = console()
    lines = [advice.text]
    for finding in advice.findings:
        lines += ["", f"{finding.severity}: {finding.subject}. {finding.text}"]
        lines += [f"  instead: {finding.instead}"] if finding.instead else []
        lines += [f"  measure: {finding.command}"] if finding.command else []
        lines += [f"  from: {finding.source}"]
    for line in lines:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)
