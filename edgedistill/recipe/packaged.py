"""Where the recipes and targets that come with the package are."""

from pathlib import Path
from typing import Literal

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged(kind: Literal["recipes", "targets"]) -> Path:
    """The folder of the recipes or targets: inside the package in an installed wheel, at the top of the repository in a checkout."""
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind
