"""The gate: which files of a finished run may ship, as a release card that is signed, and a page of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.packages import require
from edgedistill.runs import read_run
from edgedistill.steps.opening import opened
from edgedistill.steps.report import shipped
from edgedistill.steps.wanted import files_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from edgedistill.recipe.schema import Recipe
    from edgedistill.records.gate import Gated, ReleaseCard

AnyPath = str | Path


def gate(run_dir: AnyPath, *, out: AnyPath | None = None, key: AnyPath | None = None) -> Gated:
    """Decide by the gate of a run's recipe whether its files may ship, and write the release card.

    out: folder of the card, by default the run. key: PEM file of an Ed25519 private key, which signs it. Nothing is executed, and the
    holdout is read through the scores of the finished run only.

    Raises UserError where the run is not finished, or its recipe has no gate.
    """
    from edgedistill.bundle.signing import private_key
    from edgedistill.gate.decide import decide
    from edgedistill.recipe.loading import recorded
    from edgedistill.records.summary import Summary

    require("report", *(["publish"] if key is not None else []))
    signing = None if key is None else private_key(Path(key))
    with opened(read_run, run_dir) as run:
        file = Path(run_dir) / "summary.json"
        if not file.is_file():
            raise UserError(f"{run.shown} has no summary.json yet; finish it with `edgedistill run` of its recipe")
        if run.borrowed and out is None:
            raise UserError(f"{run.shown} can't be written; name a folder for the card with --out")
        summary, recipe = Summary.read(file), recorded(run.folder)
        first = {target: ship.order[:1] for target, ship in shipped(summary, recipe.targets).items()}
        files = first if recipe.gate is not None and recipe.gate.files == "first" else _all_files(recipe)
        card = decide(run, recipe, summary, files, {name for names in first.values() for name in names})
        return _written(card, run.folder if out is None else Path(out), signing)


def _all_files(recipe: Recipe) -> dict[str, list[str]]:
    """The names of the files of each target."""
    from edgedistill.recipe.targets import load_target

    targets = map(load_target, recipe.targets)
    return {target.name: [spec.name for spec in files_of(target.artifacts, recipe)] for target in targets}


def _written(card: ReleaseCard, folder: Path, key: Ed25519PrivateKey | None) -> Gated:
    """Write the card, its page and its signature into `folder`; an older signature is removed."""
    from edgedistill.files import write_bytes
    from edgedistill.records.gate import CARD_FILE, CARD_PAGE, CARD_SIGNATURE_FILE, Gated
    from edgedistill.report.release_card import write_page

    file, signature = folder / CARD_FILE, folder / CARD_SIGNATURE_FILE
    # First, so that no signature stands beside another card.
    signature.unlink(missing_ok=True)
    card.write(file)
    write_page(card, folder / CARD_PAGE)
    if key is not None:
        write_bytes(signature, key.sign(file.read_bytes()))
    return Gated(
        run=card.run,
        status=card.status,
        file=str(file),
        page=str(folder / CARD_PAGE),
        signature=None if key is None else str(signature),
        card=card,
    )
