"""From pydantic's errors to sentences: where, what was found, what was expected, and the nearest name."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgedistill.recipe.base import CHECK_PATHS, nearest, shown
from edgedistill.recipe.reading import Location, dotted

_ROUNDS = 3
_HINTS = 100
"""Mistakes for which the nearest name is sought; of more the first are shown."""

Model = TypeVar("Model", bound=BaseModel)


def find_mistakes(model: type[Model], value: Any, *, trust_code: bool = False) -> tuple[Model | None, list[tuple[Location, str]]]:
    """Validate `value`; give the model, or every mistake as (location, text).

    A check over several fields runs only when each is right by itself. So that one wrong field hides no other mistake, wrong fields are
    taken out and the rest is checked again with their defaults; what then fails around a wrong field is not told.
    trust_code: whether the recipe may name code to run.
    """
    mistakes: dict[Location, str] = {}
    known = _Known()
    rest = copy.deepcopy(value)
    for _ in range(_ROUNDS):
        try:
            valid = model.model_validate(rest, context=CHECK_PATHS | {"trust_code": trust_code})
            return (None if mistakes else valid), list(mistakes.items())
        except ValidationError as error:
            errors, told = error.errors(include_url=False), list[Location]()
            unknown = _unknown_fields(errors)
            for details in errors:
                location = _location(details)
                told.append(location)
                if _misspelt_elsewhere(details, unknown):
                    continue
                if location not in mistakes and not known.related(location):
                    mistakes[location] = _sentence(model, details, hints=len(mistakes) < _HINTS)
                _remove(rest, location)
            known.add(told)
    return None, list(mistakes.items())


class _Known:
    """Locations that were told in earlier rounds."""

    def __init__(self) -> None:
        self._locations: set[Location] = set()
        self._around: set[Location] = set()

    def add(self, locations: list[Location]) -> None:
        self._locations.update(locations)
        self._around.update(location[:end] for location in locations for end in range(len(location) + 1))

    def related(self, location: Location) -> bool:
        """Whether something around `location`, or in it, is known."""
        return location in self._around or any(location[:end] in self._locations for end in range(len(location) + 1))


def _unknown_fields(errors: list[ErrorDetails]) -> dict[Location, list[str]]:
    """The names that are no fields, by where they stand."""
    unknown: dict[Location, list[str]] = {}
    for error in errors:
        if error["type"] == "extra_forbidden":
            unknown.setdefault(error["loc"][:-1], []).append(str(error["loc"][-1]))
    return unknown


def _misspelt_elsewhere(details: ErrorDetails, unknown: Mapping[Location, list[str]]) -> bool:
    """Whether a missing field is there with a wrong name: one mistake, which the unknown field's error tells."""
    if details["type"] != "missing":
        return False
    siblings = unknown.get(details["loc"][:-1], [])[:_HINTS]
    return any(nearest(name, [str(details["loc"][-1])]) for name in siblings)


def _remove(value: Any, location: Location) -> None:
    """Take out the innermost field around `location`; items stay in their list, or the others' indices would change."""
    holder, field = None, None
    for part in location:
        if isinstance(value, dict):
            holder, field = value, part
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            break
    if holder is not None:
        holder.pop(field, None)


def _location(details: ErrorDetails) -> Location:
    """The location in the YAML file: pydantic's own names the member of a union and marks keys, which no user wrote."""
    return tuple(part for part in details["loc"] if not str(part).startswith("union:") and part != "[key]")


def _sentence(model: type[BaseModel], details: ErrorDetails, *, hints: bool) -> str:
    context, found = details.get("ctx", {}), f"found {shown(details['input'])}"
    match details["type"]:
        case "mistake":
            return f"{context.get('found', found)}, expected {context['expected']}"
        case "complaint":
            return context["text"]
        case "extra_forbidden":
            return _unknown_field(model, details) if hints else "found an unknown field"
        case "missing":
            return "found nothing, expected a value, since this field has no default"
        case "model_type" | "dict_type" | "model_attributes_type":
            fields = _fields_by_location(model).get(_pattern(_location(details)), [])
            return f"{found}, expected a mapping of {', '.join(fields)}"
        case "literal_error" | "enum":
            choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            return f"{found}, expected {context['expected']}{nearest(details['input'], choices)}"
        case "string_pattern_mismatch":
            return f"{found}, expected text that matches {context['pattern']}"
        case "too_short" | "too_long" | "string_too_short":
            return f"{found}, expected {_length(context)}"
        case kind:
            return f"{found}, expected {_EXPECTED[kind](context) if kind in _EXPECTED else details['msg']}"


_EXPECTED: dict[str, Callable[[Mapping[str, object]], str]] = {
    "int_type": lambda _: "a whole number",
    "int_from_float": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "bool_type": lambda _: "true or false",
    "string_type": lambda _: "text (put quotes around it if YAML reads it as something else)",
    "path_type": lambda _: "a path",
    "list_type": lambda _: "a list",
    "invalid_key": lambda _: "text as the name of a field",
    "greater_than": lambda context: f"a number above {context['gt']}",
    "greater_than_equal": lambda context: f"a number of at least {context['ge']}",
    "less_than": lambda context: f"a number below {context['lt']}",
    "less_than_equal": lambda context: f"a number of at most {context['le']}",
}


def _length(context: Mapping[str, object]) -> str:
    unit = "entries" if "field_type" in context else "characters"
    return f"at least {context['min_length']} {unit}" if "min_length" in context else f"at most {context['max_length']} {unit}"


def _unknown_field(model: type[BaseModel], details: ErrorDetails) -> str:
    raw, location = details["loc"], _location(details)
    everywhere = _fields_by_location(model)
    member = str(raw[-2]).removeprefix("union:") if len(raw) > 1 and str(raw[-2]).startswith("union:") else None
    fields = _fields_of(model, member) if member else everywhere.get(_pattern(location[:-1]), [])
    hint = nearest(location[-1], fields)
    if not hint:
        # A field at the wrong depth is as common as a misspelt one.
        owners = [pattern for pattern, names in everywhere.items() if location[-1] in names and "*" not in pattern]
        hint = f" (did you mean '{dotted((*owners[0], location[-1]))}'?)" if len(owners) == 1 else ""
    return f"found an unknown field, expected one of {', '.join(fields)}{hint}"


def _pattern(location: Location) -> Location:
    return tuple("*" if isinstance(part, int) else part for part in location)


def _models(annotation: Any) -> Iterator[tuple[type[BaseModel], Location]]:
    """Models that a field's type allows, each with `*` if it is an item of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ()
        return
    item: Location = ("*",) if getattr(annotation, "__origin__", None) is list else ()
    for argument in get_args(annotation):
        for model, inner in _models(argument):
            yield model, (*item, *inner)


def _walk(model: type[BaseModel], location: Location = ()) -> Iterator[tuple[Location, type[BaseModel]]]:
    yield location, model
    for name, field in model.model_fields.items():
        for inner, item in _models(field.annotation):
            yield from _walk(inner, (*location, name, *item))


def _fields_by_location(model: type[BaseModel]) -> dict[Location, list[str]]:
    fields: dict[Location, list[str]] = {}
    for location, section in _walk(model):
        known = fields.setdefault(location, [])
        known.extend(name for name in section.model_fields if name not in known)
    return fields


def _fields_of(model: type[BaseModel], name: str) -> list[str]:
    return next((list(section.model_fields) for _, section in _walk(model) if section.__name__ == name), [])
