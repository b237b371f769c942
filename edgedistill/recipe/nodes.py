"""From the text of one YAML document to plain data within limits: a file of a few kilobytes must not cost minutes or gigabytes."""

import warnings
from collections.abc import Iterator
from typing import Any

NODES = 5_000
"""Values that a document may hold, those behind aliases counted each time; parsing so many takes half a second."""
DEPTH = 32
_DIGITS = 300
_TAG = "tag:yaml.org,2002:"
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")
Location = tuple[str | int, ...]
Lines = dict[Location, int]


class Refused(Exception):
    """What is wrong with a document: `found` and `expected`, and the line, from 1."""

    def __init__(self, line: int, found: str, expected: str) -> None:
        super().__init__(f"found {found}, expected {expected}")
        self.line = line


def parse(text: str) -> tuple[Any, Lines]:
    """The value of a YAML 1.2 document as dicts, lists, text, numbers, booleans and None, and the line of each field and list item.

    Raises Refused where the text is no YAML, holds what data has no use for, such as tags, or passes a limit.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import Composer
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    class Bounded(Composer):
        """Stops at a limit, before all of a document is read."""

        count = depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.count, self.depth = self.count + 1, self.depth + 1
            line = self.parser.peek_event().start_mark.line + 1
            if self.count > NODES:
                raise _too_many(line)
            if self.depth > DEPTH:
                raise _too_deep(line)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = Bounded
    try:
        with warnings.catch_warnings():
            # An anchor that is given twice is allowed, and the last one counts.
            warnings.simplefilter("ignore")
            root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or error.context or "a syntax error").splitlines()[0].removeprefix("found ")
        raise Refused(mark.line + 1 if mark else 1, problem, "valid YAML with each key once") from error
    except YAMLError as error:
        raise Refused(1, " ".join(str(error).split())[:200], "valid YAML") from error
    except Refused:
        raise
    except Exception as error:
        # The parser has checks that end in an AttributeError, an IndexError or another error of Python's.
        raise Refused(1, f"what the parser fails on ({type(error).__name__}: {error})"[:200], "valid YAML") from error
    builder = _Builder(yaml.constructor)
    value = None if root is None else builder.value(root, ())
    return value, builder.lines


def _too_many(line: int) -> Refused:
    return Refused(line, f"more than {NODES:,} values", "fewer; the values behind an alias count each time")


def _too_deep(line: int) -> Refused:
    return Refused(line, f"values that are nested {DEPTH} deep", "fewer levels")


class _Builder:
    """Makes plain data of nodes, and keeps lines."""

    def __init__(self, scalars: Any) -> None:
        self.lines: Lines = {}
        self._scalars, self._count = scalars, 0
        self._open: set[int] = set()

    def value(self, node: Any, location: Location, line: int | None = None) -> Any:
        """The value of `node`; line: where the field is, if that is another line."""
        here = node.start_mark.line + 1
        line = here if line is None else line
        self._count += 1
        if self._count > NODES:
            raise _too_many(here)
        if len(location) > DEPTH:
            raise _too_deep(here)
        if id(node) in self._open:
            raise Refused(line, "a value that holds itself by an alias", "data without a circle")
        self.lines[location] = line
        kind = type(node).__name__
        if kind == "ScalarNode":
            return self._scalar(node)
        expected = f"{_TAG}{'map' if kind == 'MappingNode' else 'seq'}"
        if node.tag != expected:
            raise _tagged(node)
        self._open.add(id(node))
        if kind == "MappingNode":
            value: Any = {key: self.value(inner, (*location, key), at) for key, inner, at in self._items(node, line)}
        else:
            value = [self.value(inner, (*location, index)) for index, inner in enumerate(node.value)]
        self._open.discard(id(node))
        return value

    def _items(self, node: Any, line: int) -> list[tuple[str, Any, int]]:
        """Keys and values of a mapping with the lines of the keys; those that it merges come from elsewhere, and stand at `line`."""
        own: dict[str, tuple[Any, int]] = {}
        merged: dict[str, Any] = {}
        for key_node, inner in node.value:
            at = key_node.start_mark.line + 1
            if key_node.tag == f"{_TAG}merge":
                for key, found in self._merged(inner, at):
                    merged.setdefault(key, found)
                continue
            key = self._key(key_node)
            if key in own:
                raise Refused(at, f"duplicate key {_short(key)}", "valid YAML with each key once")
            own[key] = (inner, at)
        others = [(key, inner, line) for key, inner in merged.items() if key not in own]
        return [(key, inner, at) for key, (inner, at) in own.items()] + others

    def _merged(self, node: Any, line: int) -> Iterator[tuple[str, Any]]:
        """The fields that `<<` brings, of one mapping or of several, of which an earlier one goes first."""
        sources = node.value if type(node).__name__ == "SequenceNode" else [node]
        for source in sources:
            if type(source).__name__ != "MappingNode":
                raise Refused(line, "<< with something else", "a mapping to merge, or a list of mappings")
            self._count += 1
            if id(source) in self._open or self._count > NODES:
                raise Refused(line, "<< of what holds it", "another mapping to merge")
            self._open.add(id(source))
            yield from ((key, inner) for key, inner, _ in self._items(source, line))
            self._open.discard(id(source))

    def _key(self, node: Any) -> str:
        line = node.start_mark.line + 1
        key = self._scalar(node) if type(node).__name__ == "ScalarNode" else None
        if not isinstance(key, str):
            found = _short(str(node.value)) if type(node).__name__ == "ScalarNode" else "a list or mapping"
            raise Refused(line, f"{found} as a key", "text as the name of a field (put quotes around it)")
        return key

    def _scalar(self, node: Any) -> Any:
        line = node.start_mark.line + 1
        kind = node.tag.removeprefix(_TAG)
        if node.tag in _NUMBERS and len(node.value) > _DIGITS:
            raise Refused(line, f"a number of {len(node.value):,} digits", f"at most {_DIGITS}, or quotes around text")
        try:
            match kind:
                case "str" | "timestamp" | "value":
                    # Recipes have no dates: what looks like one is a name.
                    # Half a character, as "\\ud800", is no text.
                    return node.value.encode().decode()
                case "int":
                    return int(self._scalars.construct_yaml_int(node))
                case "float":
                    return float(self._scalars.construct_yaml_float(node))
                case "bool":
                    return bool(self._scalars.construct_yaml_bool(node))
                case "null":
                    return None
        except (ValueError, KeyError, IndexError, OverflowError) as error:
            raise Refused(line, f"{_short(node.value)}, which is no {kind}", "a value of that kind") from error
        raise _tagged(node)


def _tagged(node: Any) -> Refused:
    return Refused(node.start_mark.line + 1, f"the tag {_short(str(node.tag))}", "plain data without tags")


def _short(text: str) -> str:
    text = ascii(text)
    return text if len(text) <= 60 else f"{text[:57]}..."
