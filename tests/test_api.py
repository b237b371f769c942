"""The Python API: every name is there, is typed, costs nothing before it is used, and is not hidden by the part of the same name."""

import inspect
import subprocess
import sys

import edgedistill


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_name_is_there_and_documented() -> None:
    assert set(edgedistill._MODULES) == set(edgedistill.__all__)
    for name in edgedistill.__all__:
        value = getattr(edgedistill, name)
        assert value.__name__ == name
        assert value.__doc__
        if inspect.isfunction(value):
            assert "return" in value.__annotations__


def test_importing_it_imports_nothing_heavy() -> None:
    assert fresh("import sys, edgedistill; print([m for m in ('numpy', 'pydantic', 'rich', 'torch') if m in sys.modules])") == "[]"
    code = "import sys; from edgedistill import inspect, load_recipe, verify; print('torch' in sys.modules)"
    assert fresh(code) == "False"


def test_a_part_does_not_hide_the_function_of_its_name() -> None:
    code = (
        "import edgedistill, edgedistill.run, edgedistill.verify, edgedistill.report, edgedistill.doctor\n"
        "from edgedistill.run import Run\n"
        "print([f'{getattr(edgedistill, n).__module__}:{n}' for n in ('run', 'verify', 'report', 'doctor')], edgedistill.steps.__name__)"
    )
    flow = "edgedistill.steps.flow"
    assert fresh(code) == f"['{flow}:run', '{flow}:verify', '{flow}:report', 'edgedistill.doctor.examine:doctor'] edgedistill.steps"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(edgedistill, "distil")
