"""Words of one task stand with that task only: what serves every task does not speak of classes or images."""

import ast
import re
from pathlib import Path

import pytest

import edgedistill

ROOT = Path(edgedistill.__file__).parent
WORDS = re.compile(r"\b(class_?names|classes|labels|image_?size|logits)\b", re.IGNORECASE)
ALLOWED = {
    "recipe/losses.py": "losses of classifications, which several tasks use, say what they compare",
    "distill/losses.py": "the formulas of these losses",
    "distill/formulas.py": "their names",
    "distill/features.py": "the formulas of losses of features",
    "teach/encoding.py": "how probabilities of a large vocabulary are kept",
    "signature.py": "the meanings that a tensor may have",
    "steps/students.py": "compares models of timm, as the command `students` says",
    "cli/students.py": "the options of that command",
    "cli/app.py": "the options of commands, those of a model of images among them",
    "records/students.py": "what that command prints",
    "report/device_charts.py": "the labels of axes",
    "report/svg.py": "the labels of axes",
}
"""Files that may, each with the reason."""


def words(source: str) -> list[tuple[int, str]]:
    """The words of tasks in the code of a module, with their lines: names, arguments, and texts that are no docstrings."""
    found = []
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node, clean=False)
    }
    for node in ast.walk(tree):
        texts = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            texts.append(node.value)
        for field in ("id", "attr", "arg", "name"):
            if isinstance(value := getattr(node, field, None), str):
                texts.append(value)
        found += [(getattr(node, "lineno", 0), match[0]) for text in texts for match in WORDS.finditer(text)]
    return found


def test_the_words_of_a_task_are_known_to_it_alone() -> None:
    wrong = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("tasks/", "measure/runner/")) and name not in ALLOWED and (found := words(path.read_text())):
            wrong[name] = found
    assert wrong == {}


def test_every_exception_is_needed() -> None:
    assert [name for name in ALLOWED if not words((ROOT / name).read_text())] == []


@pytest.mark.parametrize("source", ["labels = 3", "f(classes=1)", "x.logits", "t = 'the image_size of it'", "def f(labels): pass"])
def test_such_words_are_seen(source: str) -> None:
    assert words(source)
