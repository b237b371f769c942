"""Reads YAML within limits: the text of a file, plain data, and the line of each value. Nothing in a file can name code to run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.nodes import Lines, Location, Refused, parse

__all__ = ["Lines", "Location", "dotted", "line_of", "read_text", "read_yaml"]

BYTES = 128 << 10
"""Size of a file; the recipes of the package have two kilobytes."""
_STRANGE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path, where: str) -> str:
    """The text of a YAML file. Raises RecipeError, in which `where` names the file, unless it is UTF-8 of at most 128 KiB."""
    try:
        with open(path, "rb") as handle:
            content = handle.read(BYTES + 1)
    except (OSError, ValueError) as error:
        raise RecipeError(where, [f"{where}:1: found a file that can't be read ({error}), expected UTF-8 text"]) from error
    if len(content) > BYTES:
        raise RecipeError(where, [f"{where}:1: found more than {BYTES >> 10} KiB, expected a YAML file of a few"])
    if content.startswith(_UTF16):
        raise RecipeError(where, [f"{where}:1: found UTF-16, expected UTF-8 text; save the file with that encoding"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{content[error.start]:02x}, which is not UTF-8"
        raise RecipeError(where, [f"{where}:{line}: found {found}, expected UTF-8 text; save the file with that encoding"]) from error


def read_yaml(text: str, where: str) -> tuple[Any, Lines]:
    """Parse one YAML document to dicts, lists and scalars, and give the line (from 1) of each field and list item.

    Raises:
        RecipeError: the text isn't YAML, a mapping has a key twice, or a limit is passed (see `nodes`); `where` names the file.
    """
    if len(text) > BYTES:
        raise RecipeError(where, [f"{where}:1: found {len(text):,} characters, expected at most {BYTES:,}"])
    if strange := _STRANGE.search(text):
        line = text.count("\n", 0, strange.start()) + 1
        raise RecipeError(where, [f"{where}:{line}: found the character {strange[0]!a}, expected text without control characters"])
    try:
        return parse(text)
    except Refused as error:
        raise RecipeError(where, [f"{where}:{error.line}: {error}"]) from error


def line_of(lines: Lines, location: Sequence[str | int]) -> int:
    """The line of the value at `location`, or of the nearest part around it that the file has."""
    for end in range(len(location), -1, -1):
        if (line := lines.get(tuple(location[:end]))) is not None:
            return line
    return 1


def dotted(location: Sequence[str | int]) -> str:
    """A location as `--set` takes it: `distill.stages.0.epochs`."""
    return ".".join(str(part) for part in location)
