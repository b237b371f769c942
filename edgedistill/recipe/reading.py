"""YAML to plain data and the line of each value; nothing in a file can name code to run."""

from collections.abc import Sequence
from typing import Any

from edgedistill.recipe.base import RecipeError

Location = tuple[str | int, ...]
Lines = dict[Location, int]


def read_yaml(text: str, where: str) -> tuple[Any, Lines]:
    """Parse one YAML document to dicts, lists and scalars, and give the line (from 1) of each field and list item.

    Raises:
        RecipeError: the text isn't YAML, or a mapping has a key twice; `where` names the file in the message.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        # Round-trip loading is safe loading that keeps positions: tags never construct objects.
        tree = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = (error.problem or error.context or "a syntax error").splitlines()[0].removeprefix("found ")
        raise RecipeError(where, [f"{where}:{line}: found {problem}, expected valid YAML with each key once"]) from error
    except YAMLError as error:
        raise RecipeError(where, [f"{where}:1: found {' '.join(str(error).split())}, expected valid YAML"]) from error
    lines: Lines = {}
    return _plain(tree, (), 1, lines), lines


def _plain(node: Any, location: Location, line: int, lines: Lines) -> Any:
    lines[location] = line
    if isinstance(node, dict):
        positions = getattr(node, "lc", None)
        return {key: _plain(value, (*location, key), _line(positions, key, "key", line), lines) for key, value in node.items()}
    if isinstance(node, list):
        positions = getattr(node, "lc", None)
        return [_plain(value, (*location, index), _line(positions, index, "item", line), lines) for index, value in enumerate(node)]
    # Round-trip scalars are subclasses that remember how they were written; validation wants the plain type.
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return bool(node) if type(node).__name__ == "ScalarBoolean" else node


def _line(positions: Any, key: object, kind: str, default: int) -> int:
    try:
        return int(getattr(positions, kind)(key)[0]) + 1
    except (KeyError, TypeError, AttributeError):
        # A value that came through an anchor and merge has no position of its own.
        return default


def line_of(lines: Lines, location: Sequence[str | int]) -> int:
    """The line of the value at `location`, or of the nearest part around it that the file has."""
    for end in range(len(location), -1, -1):
        if (line := lines.get(tuple(location[:end]))) is not None:
            return line
    return 1


def dotted(location: Sequence[str | int]) -> str:
    """A location as `--set` takes it: `distill.stages.0.epochs`."""
    return ".".join(str(part) for part in location)
