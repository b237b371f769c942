"""Hashes of code: what decides whether a file that code made has to be made again."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import threading
from pathlib import Path

# Two threads that parse at once can get a SystemError from Python 3.11 ("AST constructor recursion depth mismatch").
_PARSING = threading.Lock()


@functools.cache
def code_hash(module: str) -> str:
    """SHA-256 of what a module does: its syntax tree and those of the modules of its own package that it imports.

    Comments, docstrings and layout do not count. Modules of other packages do not count either: a step names those that matter to it.
    Raises ModuleNotFoundError when there is no such module.
    """
    digest = hashlib.sha256()
    for name, tree in sorted(trees(module).items()):
        digest.update(f"{name}\n{ast.dump(_without_docstrings(tree))}\n".encode())
    return digest.hexdigest()


def trees(module: str) -> dict[str, ast.Module]:
    """The syntax trees of a module and of those that it imports from its own package, by name."""
    package, known, waiting = module.rpartition(".")[0], dict[str, ast.Module](), [module]
    while waiting:
        name = waiting.pop()
        if name not in known:
            text = _source(name).read_text(encoding="utf-8")
            with _PARSING:
                known[name] = ast.parse(text)
            waiting += [other for other in imports(known[name], name) if other.startswith(f"{package}.") and _is_module(other)]
    return known


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.has_location or spec.origin is None:
        raise ModuleNotFoundError(f"found no source file of the module {module}, whose code decides what has to be made again")
    return Path(spec.origin)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # The name belongs to a module, which is no package.
        return False


def imports(tree: ast.Module, module: str) -> list[str]:
    """The modules that `module` imports anywhere; a name that it imports from a package may be one of them."""
    package = module if _source(module).name == "__init__.py" else module.rpartition(".")[0]
    modules = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            start = ".".join(part for part in (base, node.module) if part)
            modules += [start, *(f"{start}.{alias.name}" for alias in node.names)]
    return modules


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A string that stands alone computes nothing.
            node.body = [line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]  # type: ignore[attr-defined]
    return tree
