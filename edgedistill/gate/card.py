"""A release card beside files: whether it is of them."""

from __future__ import annotations

from pathlib import Path

from edgedistill.errors import DamagedFile
from edgedistill.progress import log
from edgedistill.records.gate import CARD_FILE, CARD_FILES, ReleaseCard


def files_of(folder: Path, hashes: dict[str, str]) -> dict[str, bytes]:
    """The card in `folder` with its page and signature, by name, for a bundle of the files with these SHA-256 by name.

    Nothing where there is none, and where it is of other files.
    """
    if not (folder / CARD_FILE).is_file():
        return {}
    try:
        card = ReleaseCard.read(folder / CARD_FILE)
    except DamagedFile as error:
        log(f"warning: no release card in the bundle: {error}")
        return {}
    if why := misfit(card, hashes):
        log(f"warning: no release card in the bundle: {why}; decide again with `edgedistill gate`")
        return {}
    if card.status != "ok":
        log(f"warning: the gate failed, as {CARD_FILE} of the bundle says")
    return {name: (folder / name).read_bytes() for name in CARD_FILES if (folder / name).is_file()}


def misfit(card: ReleaseCard, hashes: dict[str, str]) -> str | None:
    """How a card is not of the files with these SHA-256 by name; None where it is of one or more of them."""
    gated = {file.name: file.sha256 for file in card.files if file.name in hashes}
    if not gated:
        return f"{CARD_FILE} names none of the files"
    other = [name for name, sha256 in gated.items() if hashes[name] != sha256]
    return f"{CARD_FILE} is of another {other[0]}" if other else None
