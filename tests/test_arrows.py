"""What may import what: the flow goes one way, adapters and the runner stand alone, and nobody imports the command line."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import edgedistill

PACKAGE = "edgedistill"
FLOW = ["recipe", "teach", "quantize", "distill", "export", "verify", "measure", "gate", "bundle", "report"]
ROOT = {
    "",
    "child",
    "cores",
    "errors",
    "files",
    "interrupts",
    "packages",
    "plugins",
    "processes",
    "progress",
    "provenance",
    "rows",
    "run",
    "runs",
    "scratch",
    "signature",
    "storage",
    "records",
    "threads",
    "workers",
}
"""The package itself and its root modules, which know no part."""
INTERFACE = {
    "arrays", "base", "code", "data", "flatten", "intervals", "loading", "model_file", "modules", "npz",
    "pixels", "requests", "sections", "shadowed", "user_model",
}  # fmt: skip
"""The modules of `tasks` that belong to no task."""
BOUNDED = "measure.runner.bounded"
"""How the output of other programs is read: it imports nothing, and stands with the runner, which is alone on a device."""
SCRUB = "teach.scrub"
"""Personal data are replaced before anything else reads data, so that tasks ask for it; it knows no other part."""
EVERYWHERE = {"recipe", "tasks", "backends", "backends.facts", BOUNDED} | ROOT
ALLOWED = {part: set(FLOW[: index + 1]) | EVERYWHERE for index, part in enumerate(FLOW)} | {
    "recipe": {"recipe", "tasks", "backends.facts"} | ROOT,
    # The interface of tasks, and the tasks themselves, which only their registry knows.
    "tasks": {"tasks", "task", "recipe", "backends", "backends.facts"} | ROOT,
    "task": {"tasks", "task", "recipe", "backends", "backends.facts", SCRUB} | ROOT,
    SCRUB: {SCRUB, "recipe"} | ROOT,
    # Torch-free data that everybody reads.
    "backends.facts": {"backends.facts", "errors", "plugins"},
    "backends": {"backends", "backends.facts", "adapters", "measure.runner", BOUNDED, "recipe", "quantize", "export"} | ROOT,
    # Both run on a device, where nothing else of the project is.
    "adapters": {"adapters", "measure.runner"},
    "measure.runner": {"measure.runner", BOUNDED},
    BOUNDED: set(),
    "cli": {*FLOW, "measure.runner", "cli", "steps", "doctor"} | EVERYWHERE,
    "steps": {*FLOW, "measure.runner", "steps"} | EVERYWHERE,
    "doctor": {"recipe", "measure.runner", "doctor"} | EVERYWHERE,
    "__main__": {"cli"},
    **{module: ROOT for module in ROOT},
    "child": {BOUNDED} | ROOT,
    "records": {"recipe", "backends.facts"} | ROOT,
    "run": {"backends.facts"} | ROOT,
    # The extra of each format.
    "packages": {"backends.facts"} | ROOT,
    # The Python API, which only its users import.
    "": {"backends", "doctor", "errors", "gate", "measure", "recipe", "steps", "tasks"},
}  # fmt: skip
# The parts on the host start the runner, which belongs to measure.
for later in FLOW[FLOW.index("measure") :]:
    ALLOWED[later].add("measure.runner")
# Parts that still ask one task itself.
for part in ("steps", "cli"):
    ALLOWED[part] |= {"task", SCRUB}
DEVICE_MODULES: dict[str, set[str]] = {
    BOUNDED: set(),
    "measure.runner": {"numpy"},
    "adapters": {
        "numpy",
        "onnxruntime",
        "ai_edge_litert",
        "tflite_runtime",
        "executorch",
        "executorch_numpy_runtime",
        "torch",
        "coremltools",
        "coreai",
        "PIL",
    },
}


def part_of(module: str) -> str:
    """`edgedistill.measure.runner.facts` is in `measure.runner`, `edgedistill.errors` in `errors`, the package itself in ``."""
    names = module.split(".")[1:]
    if names[:1] == ["backends"] and names[2:] and names[2].startswith("adapter"):
        return "adapters"
    if names[:1] == ["backends"] and (names[1:] in ([], ["base"]) or names[2:] == ["facts"]):
        return "backends.facts"
    if names[:1] == ["tasks"] and len(names) > 1 and names[1] not in INTERFACE:
        return "task"
    if names[:2] == SCRUB.split("."):
        return SCRUB
    if names == BOUNDED.split("."):
        return BOUNDED
    return ".".join(names[:2]) if names[:2] == ["measure", "runner"] else (names[0] if names else "")


def imports(root: Path, file: Path) -> Iterator[tuple[int, str]]:
    """Each module that `file` imports anywhere, functions and TYPE_CHECKING included, as (line, absolute name)."""
    package = [PACKAGE, *file.relative_to(root).parent.parts]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from edgedistill.measure import runner` names the submodule only on the right.
            yield from ((node.lineno, f"{module}.{alias.name}" if is_package(root, module) else module) for alias in node.names)


def is_package(root: Path, module: str) -> bool:
    names = module.split(".")
    return names[0] == PACKAGE and root.joinpath(*names[1:]).is_dir()


def imported_part(root: Path, module: str) -> str:
    """The part of an imported name; a name of the Python API, such as `bench`, counts as one of `steps`."""
    names = module.split(".")[1:]
    if names and not root.joinpath(*names).is_dir() and not root.joinpath(*names).with_suffix(".py").is_file():
        name = names.pop()
        if not names and not name.startswith("__"):
            return "steps"
    return part_of(".".join([PACKAGE, *names]))


def violations(root: Path) -> list[str]:
    """Imports below `root`, the folder of the package, that go against the arrows."""
    wrong = []
    for file in sorted(root.rglob("*.py")):
        names = file.relative_to(root).with_suffix("").parts
        part = part_of(".".join([PACKAGE, *(name for name in names if name != "__init__")]))
        for line, module in imports(root, file):
            top = module.split(".")[0]
            where = f"{file.relative_to(root).as_posix()}:{line}"
            if top == PACKAGE:
                other = imported_part(root, module)
                if other not in ALLOWED.get(part, set()):
                    wrong.append(f"{where}: {part or PACKAGE} imports {other or PACKAGE}")
            elif part in DEVICE_MODULES and top not in DEVICE_MODULES[part] and top not in sys.stdlib_module_names:
                wrong.append(f"{where}: {part} imports {top}")
    return wrong


def test_the_package_keeps_to_the_arrows() -> None:
    root = Path(edgedistill.__file__).parent
    assert violations(root) == []
    assert len(list(root.rglob("*.py"))) > 20


def test_every_part_is_known() -> None:
    root = Path(edgedistill.__file__).parent
    parts = {path.name for path in root.iterdir() if (path / "__init__.py").is_file()}
    parts |= {path.stem for path in root.glob("*.py")} - {"__init__"}
    assert parts <= set(ALLOWED)


def test_the_check_sees_what_is_wrong(tmp_path: Path) -> None:
    files = {
        "__init__.py": "",
        "errors.py": "from edgedistill.recipe import load\n",
        "teach/__init__.py": "from edgedistill import verify\n",
        "teach/late.py": "def f():\n    import edgedistill.report.page\n",
        "teach/relative.py": "from ..distill import trainer\n",
        "teach/fine.py": "from edgedistill import __version__\nfrom edgedistill.recipe import load\nfrom .late import f\nimport torch\n",
        "recipe/load.py": "from .. import cli\n",
        "quantize/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from edgedistill.distill.trainer import T\n",
        "distill/trainer.py": "from edgedistill.quantize import typed\nfrom edgedistill import steps\n",
        "backends/onnx/adapter.py": "import numpy\nfrom edgedistill.errors import UserError\n",
        "backends/onnx/lower.py": "from edgedistill.quantize import grid\nfrom edgedistill.measure import local\n",
        "measure/local.py": "from edgedistill.measure import runner\nfrom edgedistill.backends import base\n",
        "measure/runner/__init__.py": "import pandas\nfrom ...measure import local\n",
        "verify/rungs.py": "from edgedistill.measure.runner import facts\nfrom edgedistill import bench\n",
        "report/page.py": "from edgedistill.verify import rungs\nimport jinja2\n",
        "steps.py": "from edgedistill.report import page\nfrom edgedistill.cli import app\n",
        "cli/app.py": "from edgedistill import steps\nfrom edgedistill.verify import rungs\n",
        "__main__.py": "from edgedistill.cli.app import main\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert violations(tmp_path) == [
        "backends/onnx/adapter.py:2: adapters imports errors",
        "backends/onnx/lower.py:2: backends imports measure",
        "distill/trainer.py:2: distill imports steps",
        "errors.py:1: errors imports recipe",
        "measure/runner/__init__.py:1: measure.runner imports pandas",
        "measure/runner/__init__.py:2: measure.runner imports measure",
        "quantize/typed.py:3: quantize imports distill",
        "recipe/load.py:1: recipe imports cli",
        "steps.py:2: steps imports cli",
        "teach/__init__.py:1: teach imports verify",
        "teach/late.py:2: teach imports report",
        "teach/relative.py:1: teach imports distill",
        "verify/rungs.py:1: verify imports measure.runner",
        "verify/rungs.py:2: verify imports steps",
    ]
