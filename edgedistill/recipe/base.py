"""What every Config of a recipe shares: strictness, mistakes with an expectation, and paths that can be checked."""

import difflib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from edgedistill.errors import UserError

CHECK_PATHS = {"check_paths": True}
"""Validation context under which files, folders and targets that a recipe names have to exist."""


class Config(BaseModel):
    """Base of every part of a recipe: unknown fields are refused, types are not guessed, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


_TOLD = 20
_LONGEST = 600


class RecipeError(UserError):
    """All mistakes of a recipe or target at once; `errors` holds one text for each of the first twenty, and how many more there are."""

    def __init__(self, where: str, errors: list[str]) -> None:
        self.errors = [_printable(error) for error in errors[:_TOLD]]
        if len(errors) > _TOLD:
            self.errors.append(f"{len(errors) - _TOLD:,} more mistakes, which are told when these are mended")
        heading = f"1 mistake in {_printable(where)}" if len(errors) == 1 else f"{len(errors):,} mistakes in {_printable(where)}"
        super().__init__("\n".join([heading, *(f"  {error}" for error in self.errors)]))


def _printable(text: str) -> str:
    """`text` for a terminal: on its lines, without control characters, and not longer than a few lines."""
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


_LONGEST_NAME = 100


def shortened(text: str) -> str:
    """What a message repeats of a user's `text`: at most a hundred characters."""
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."


def shown(value: Any, limit: int = 60) -> str:
    """`value` as a user would write it in YAML or JSON, on one line of at most `limit` characters."""
    if isinstance(value, Path):
        value = str(value)
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (ValueError, RecursionError, TypeError):
        # A number of thousands of digits, or data that a program made.
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def nearest(word: object, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` with the choice closest to `word`, or nothing where none is close."""
    close = difflib.get_close_matches(str(word)[:_LONGEST_NAME], list(choices), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


def one_of(word: object, choices: Iterable[str]) -> str:
    """What an error expects in place of `word`: one of `choices`, as `'a', 'b' or 'c'`, with the nearest of them."""
    *others, last = (f"'{choice}'" for choice in choices)
    return f"{', '.join(others)} or {last}{nearest(word, choices)}" if others else f"{last}{nearest(word, choices)}"


def mistake(expected: str, found: str | None = None) -> PydanticCustomError:
    """An error to raise in a validator; it is told as `{found}, expected {expected}`.

    `expected` may end with the hint that `nearest` gives. Without `found` the value itself is shown.
    """
    context = {"expected": expected} if found is None else {"expected": expected, "found": found}
    return PydanticCustomError("mistake", "expected {expected}", context)


def complaint(text: str) -> PydanticCustomError:
    """An error to raise in a validator whose text already says what was found and expected."""
    return PydanticCustomError("complaint", "{text}", {"text": text})


def checks_paths(info: ValidationInfo) -> bool:
    """Whether this validation has to look at the disk; a finished run is read without its data."""
    return bool(info.context and info.context.get("check_paths"))


def at_home(path: Path) -> Path:
    """`path` with ~ replaced by the home folder; as it is where there is no such home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def why_not(path: Path, kind: Literal["file", "folder"]) -> str | None:
    """Why `path` is no file or folder that can be read; None where it is one."""
    try:
        if path.is_file() if kind == "file" else path.is_dir():
            return None if os.access(path, os.R_OK) else f"a {kind} that can't be read (permission denied): {path}"
    except OSError as error:
        # Names that are too long, and folders that may not be entered.
        return f"a {kind} that can't be read ({error.strerror}): {path}"
    return f"no such {kind}: {path}"


def _folder(path: Path, info: ValidationInfo) -> Path:
    path = at_home(path)
    if checks_paths(info) and (found := why_not(path, "folder")):
        raise mistake("a folder (relative paths start at the current folder)", found)
    return path


def _file(path: Path, info: ValidationInfo) -> Path:
    path = at_home(path)
    if checks_paths(info) and (found := why_not(path, "file")):
        raise mistake("a file (relative paths start at the current folder)", found)
    return path


def _safetensors(path: Path) -> Path:
    # Checked by name, so that a pickle is refused before anything opens it.
    if path.suffix != ".safetensors":
        raise mistake("a .safetensors file (convert other checkpoints with safetensors.torch.save_file)")
    return path


# strict=False only lets the text of a recipe become a path.
FolderPath = Annotated[Path, Field(strict=False), AfterValidator(_folder)]
FilePath = Annotated[Path, Field(strict=False), AfterValidator(_file)]
CheckpointPath = Annotated[Path, Field(strict=False), AfterValidator(_safetensors), AfterValidator(_file)]
