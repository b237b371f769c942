"""What the pages say of a file: exact, by the rule, in floating point, refused or wrong."""

import re
from typing import Any

from edgedistill.backends import backend
from edgedistill.packages import installed
from edgedistill.verify import parity

EXACT = 1e-5
_MOVING = {
    "cat", "stack", "unflatten", "narrow", "split", "chunk", "pad", "roll", "flip", "rot90", "repeat", "repeat_interleave", "unfold",
    "im2col", "index", "index_select", "gather", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "movedim", "expand_as", "unbind",
    "max_pool1d", "max_pool3d", "adaptive_max_pool2d", "upsample_nearest2d", "upsample_nearest1d", "maximum", "minimum", "amax", "amin",
}  # fmt: skip
"""What moves or selects values: steps stay steps, wherever it is computed."""


def cell(found: dict[str, Any], facts: dict[str, Any], precision: str, notes: dict[str, int]) -> str:
    """The cell of a file. found: its result; facts: of its network. notes: numbers of reasons, which grow."""
    if found["result"] in ("refused", "failed"):
        reason = _without_layer(found["reason"])
        return f"refused {notes.setdefault(reason, len(notes) + 1)}" if found["result"] == "refused" else "**wrong**"
    if found["result"] == "wrong":
        if found.get("reason", "").startswith("TimeoutError"):
            return "too slow"
        distance = found.get("parity", {}).get("mean_lsb")
        apart = facts.get("apart")
        if distance is None or apart is None:
            return "**wrong**"
        # By the triangle inequality, a file that keeps the rule to one reference is at most so far from the other.
        return f"unsettled {distance:.2g}" if apart > parity.MEAN_LIMIT or distance <= parity.MEAN_LIMIT + apart else "**wrong**"
    kept = found["parity"]
    if precision != "int8":
        if kept.get("relative") is None:
            return "exact" if not kept["flips"] else f"rule {kept['flips']} of {kept['n']}"
        return "exact" if kept["relative"] <= EXACT else f"rule {kept['relative']:.0e}"
    distance = "" if kept.get("mean_lsb") is None or kept["max_lsb"] == 0 else f" {kept['mean_lsb']:.2g}"
    if found.get("mixed") or floats(facts):
        return f"float{distance}"
    return f"rule{distance}" if distance else "exact"


def floats(facts: dict[str, Any]) -> list[str]:
    """The operators that an int8 network computes in floating point, without those that only move or select values."""
    # What is no operator of aten takes a part out of several.
    return sorted({name.split(".")[1].rstrip("_") for name in facts["floats"] if name.startswith("aten.")} - _MOVING)


def versions(kinds: list[str]) -> str:
    """The packages of the formats `kinds`, with their versions, one a line."""
    packages = installed(tuple(dict.fromkeys(package for kind in kinds for package in backend(kind).packages)))
    return ",\n".join(f"{package} {version}" for package, version in packages.items())


def _without_layer(reason: str) -> str:
    """A reason that does not name this network's layer."""
    return re.sub(r"^the layer \S+ is an? ", "", reason)
