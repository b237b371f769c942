"""Publishes bundles as updates that apps fetch by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgedistill.errors import UserError
from edgedistill.packages import require

if TYPE_CHECKING:
    from edgedistill.records.documents import Published

AnyPath = str | Path


def publish(
    archive: AnyPath | None,
    to: AnyPath,
    *,
    percent: float | None = None,
    minimum_app: str | None = None,
    release: int | None = None,
    withdraw: bool = False,
    key: AnyPath | None = None,
) -> Published:
    """Add the bundle in `archive`, a .zip, to the repository in the folder `to`; without one, change a release of it.

    percent: share of the installations that get the release, 100 by default for a new one. minimum_app: the oldest version of the app that
    can use it. release: number of the release to change, by default the newest. withdraw: installations that have it go back to an older
    one. key: PEM file of the Ed25519 private key that signs the index.

    Raises UserError where the bundle is wrong, or the repository is that of another model.
    """
    from edgedistill.bundle import repository
    from edgedistill.bundle.signing import private_key
    from edgedistill.records.documents import Published

    require("publish")
    if percent is not None and not 0 <= percent <= 100:
        raise UserError(f"--percent: found {percent:g}, expected a number from 0 to 100")
    signing, folder = None if key is None else private_key(Path(key)), Path(to)
    if archive is not None:
        if release is not None or withdraw:
            raise UserError(f"found the bundle {archive} with --release or --withdraw, expected one of them")
        index = repository.publish(
            folder, Path(archive), percent=100.0 if percent is None else percent, minimum_app=minimum_app, key=signing
        )
    else:
        if (percent is None) == (not withdraw):
            raise UserError("without a bundle a release is changed: expected --percent P or --withdraw")
        if minimum_app is not None:
            raise UserError("found --minimum-app without a bundle; a release keeps what it was published with")
        index = repository.change(folder, release, percent=percent, withdrawn=withdraw, key=signing)
    return Published(repository=str(folder), signed=signing is not None, index=index)
