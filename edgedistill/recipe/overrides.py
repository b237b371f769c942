"""`--set FIELD=VALUE`: changes to a recipe's plain data before it is validated."""

import copy
from collections.abc import Collection, Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from edgedistill.recipe.base import RecipeError, shortened
from edgedistill.recipe.reading import Location, dotted, read_yaml
from edgedistill.recipe.schema import recipe_model, task_of

_DEEPEST = 16
_DIGITS = 6


def apply_overrides(value: dict[str, object], overrides: list[str]) -> tuple[dict[Location, str], list[str]]:
    """Change `value` in place, in the order given.

    Returns:
        The override text for each location that was set, and a sentence for each override that couldn't be applied.
    """
    model = recipe_model(task_of(value))
    fields = {name: field for name, field in model.model_fields.items() if not field.is_required()}
    defaults = {name: to_jsonable_python(field.get_default(call_default_factory=True)) for name, field in fields.items()}
    kinds = model.model_fields["data"].annotation.kinds  # type: ignore[union-attr]
    origins: dict[Location, str] = {}
    errors: list[str] = []
    for override in overrides:
        field, equals, text = override.partition("=")
        parts = field.strip().split(".")
        if not equals or not all(parts):
            errors.append(f"--set {shortened(override)}: found no FIELD=VALUE, expected for example data.batch_size=64")
            continue
        if len(parts) > _DEEPEST:
            errors.append(f"--set {shortened(override)}: found a field {len(parts)} levels deep, expected for example data.batch_size=64")
            continue
        try:
            new, _ = read_yaml(text, "")
            location = _put(value, defaults, kinds, parts, new)
        except RecipeError as error:
            errors.append(f"--set {shortened(override)}: {error.errors[0].split(': ', 1)[1]}")
        except IndexError as error:
            errors.append(f"--set {shortened(override)}: {error}")
        else:
            origins = {known: said for known, said in origins.items() if known[: len(location)] != location}
            origins[location] = override
    return origins, errors


def _put(value: dict[str, object], defaults: object, kinds: Mapping[str, Collection[str]], parts: list[str], new: object) -> Location:
    """Set the value at `parts`, filling in lists from the defaults on the way; give its location. kinds: see `DataConfig`."""
    if parts[0] == "data" and len(parts) > 2 and parts[1] in kinds:
        # Such a field has one kind: naming another kind replaces it.
        data = value.get("data")
        current = data.get(parts[1]) if isinstance(data, dict) else None
        if not isinstance(current, dict) or (parts[2] in kinds[parts[1]] and parts[2] not in current):
            _put(value, defaults, kinds, list(parts[:2]), {})
    node: Any = value
    location: Location = ()
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        default = defaults.get(part) if isinstance(defaults, dict) else None
        if isinstance(node, list):
            key: str | int = _index(node, part, location)
            default = None
        else:
            key = part
        location = (*location, key)
        if last:
            node[key] = new
            break
        current = node[int(key)] if isinstance(node, list) else node.get(key)
        if not isinstance(current, (dict, list)):
            current = copy.deepcopy(default) if isinstance(default, list) else {}
            node[key] = current
        node, defaults = current, default
    return location


def _index(node: list[Any], part: str, location: Location) -> int:
    if not part.isdecimal() or len(part) > _DIGITS or int(part) >= len(node):
        raise IndexError(f"{dotted(location)}: found '{part}', expected an index from 0 to {len(node) - 1}")
    return int(part)


def override_of(origins: dict[Location, str], location: Location) -> str | None:
    """The override that put what stands at `location`, if one did."""
    for end in range(len(location), 0, -1):
        if (said := origins.get(location[:end])) is not None:
            return said
    return None
