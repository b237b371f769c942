"""Formats are known in backends/ only: elsewhere code asks `edgedistill.backends` for what there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import edgedistill

ROOT = Path(edgedistill.__file__).parent
WORDS = re.compile(r"\b(executorch|core ?ml|core ?ai|aimodel|onnx|ort|litert|mlpackage|tflite|pte)\b", re.IGNORECASE)
EXCEPTED = ("quantize/quantizer.py", "quantize/int16.py", "measure/binaries/", "measure/kit/", "targets/")
"""The quantizer of the scheme that formats share comes with a package of one of them; a user's own programs have formats of their own, and
the kit for devices is packed from named packages."""


def words(source: str) -> Iterator[tuple[int, str]]:
    """Names of formats in the code of a file, as (line, text): names, imports and strings, without comments and docstrings."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        texts: list[str] = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            texts = [node.value]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            texts = [*(alias.name for alias in node.names), getattr(node, "module", None) or ""]
        elif isinstance(node, ast.Name):
            texts = [node.id.replace("_", " ")]
        elif isinstance(node, ast.Attribute):
            texts = [node.attr.replace("_", " ")]
        yield from ((node.lineno, text[:80]) for text in texts if WORDS.search(text))


def test_no_format_is_named_outside_backends() -> None:
    named = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("backends/", *EXCEPTED)):
            named += [f"{name}:{line}: {text}" for line, text in words(path.read_text(encoding="utf-8"))]
    assert named == []


def test_the_check_sees_names_in_code_and_not_in_prose() -> None:
    source = '"""Prose on ONNX."""\nimport onnx\nis_core_ml = "a .tflite"\ndef f():\n    """Prose on a .pte."""\n    return is_core_ml\n'
    assert sorted(line for line, _ in words(source)) == [2, 3, 3, 6]
