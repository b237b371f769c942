"""Hashes of code: what decides whether a file that code made has to be made again.

Code is read as tokens and not as a syntax tree. Where two threads make syntax trees at once, one of which may be a library's, Python 3.11.7
ended a run with SystemError, "AST constructor recursion depth mismatch". Tokens also take a fiftieth of the time: nothing is imported.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import tokenize
from pathlib import Path

Lines = tuple[tuple[str, ...], ...]
"""The statements of a module as tokens, one line each, without comments, docstrings and layout."""
_SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER}
_BLOCKS = {tokenize.INDENT: ("indent",), tokenize.DEDENT: ("dedent",)}


@functools.cache
def code_hash(module: str) -> str:
    """SHA-256 of what a module does: its statements and those of the modules of its own package that it imports.

    Comments, docstrings and layout do not count. Modules of other packages do not count either: a step names those that matter to it.
    Raises ModuleNotFoundError when there is no such module.
    """
    digest = hashlib.sha256()
    for name, lines in sorted(sources(module).items()):
        digest.update(f"{name}\n{lines}\n".encode())
    return digest.hexdigest()


def sources(module: str) -> dict[str, Lines]:
    """The statements of a module and of those that it imports from its own package, by name."""
    package, known, waiting = module.rpartition(".")[0], dict[str, Lines](), [module]
    while waiting:
        name = waiting.pop()
        if name not in known:
            known[name] = statements(name)
            waiting += [other for other in imports(known[name], name) if other.startswith(f"{package}.") and _is_module(other, package)]
    return known


@functools.cache
def statements(module: str) -> Lines:
    """The statements of a module. Raises ModuleNotFoundError when there is no such module."""
    lines: list[tuple[str, ...]] = []
    line: list[str] = []
    strings = True
    for token in tokenize.generate_tokens(io.StringIO(_source(module).read_text(encoding="utf-8")).readline):
        if token.type in _BLOCKS:
            lines.append(_BLOCKS[token.type])
        elif token.type == tokenize.NEWLINE:
            # A string that stands alone computes nothing.
            if not strings:
                lines.append(tuple(line))
            line, strings = [], True
        elif token.type not in _SKIPPED:
            line.append(token.string)
            strings &= token.type == tokenize.STRING
    return tuple(lines)


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.has_location or spec.origin is None:
        raise ModuleNotFoundError(f"found no source file of the module {module}, whose code decides what has to be made again")
    return Path(spec.origin)


def _is_module(name: str, package: str) -> bool:
    """Whether a name of `package` is a module; one that belongs to a module is none. Found by its file, so that nothing is imported."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec is not None else None) or ()
    paths = [Path(folder, *name.removeprefix(f"{package}.").split(".")) for folder in folders]
    return any(path.with_suffix(".py").is_file() or (path / "__init__.py").is_file() for path in paths)


def imports(lines: Lines, module: str) -> list[str]:
    """The modules that the statements of `module` import anywhere; a name that they import from a package may be one of them."""
    package = (module if _source(module).name == "__init__.py" else module.rpartition(".")[0]).split(".")
    modules: list[str] = []
    for line in lines:
        if line[0] == "import":
            modules += _names(line[1:])
        elif line[0] == "from" and "import" in line:
            place = line.index("import")
            dots = "".join(line[1:place])
            path = dots.lstrip(".")
            level = len(dots) - len(path)
            base = ".".join(package[: len(package) - level + 1]) if level else ""
            start = ".".join(part for part in (base, path) if part)
            modules += [start, *(f"{start}.{name}" for name in _names(line[place + 1 :]))]
    return modules


def _names(tokens: tuple[str, ...]) -> list[str]:
    """The dotted names of an import, without what they are called."""
    parts = "".join(f" {token} " if token in ("as", ",") else token for token in tokens if token not in ("(", ")")).split(",")
    return [part.split(" as ")[0].strip() for part in parts if part.strip()]
