"""An upgraded package or changed code makes anew what was made with it, and nothing else."""

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import edgedistill

import edgedistill as package
from edgedistill.backends import backends
from edgedistill.provenance import imports, sources
from edgedistill.steps.declared import SHARED

SMALL = """name: small
description: Smaller.
minimum_os: any
artifacts:
  - {format: onnx, precision: int8}
  - {format: onnx, precision: fp32}
  - {format: litert, precision: int8}
"""


@pytest.fixture(scope="module")
def small(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the tiny run and the target small.yaml."""
    folder = tmp_path_factory.mktemp("upgrades")
    shutil.copytree(tiny / "runs" / "tiny", folder / "tiny")
    (folder / "small.yaml").write_text(SMALL)
    return folder


def records(folder: Path) -> dict[str, int]:
    """When each step of the run was done, by name."""
    found = (folder / "tiny" / "work" / "records").glob("*.json")
    return {path.stem: path.stat().st_mtime_ns for path in found if not path.name.endswith(".started.json")}


def exported(folder: Path, first_on_path: Path) -> tuple[set[str], dict[str, Any]]:
    """The steps that an export does anew when `first_on_path` is before everything that is installed, and the bundle's manifest."""
    before = records(folder)
    path = os.pathsep.join([str(first_on_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = edgedistill("export", "tiny", "--target", "small.yaml", "--json", cwd=folder, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-3000:]
    after = records(folder)
    manifest = json.loads((folder / "tiny" / "bundles" / "small" / "manifest.json").read_text())
    return {name for name, time in after.items() if before.get(name) != time} - {"budgets"}, manifest


ONNX = {"student-int8.onnx", "student-fp32.onnx", "teacher-fp32.onnx"}


@pytest.mark.slow
def test_an_upgrade_makes_anew_what_the_package_made(small: Path, tmp_path: Path) -> None:
    exported(small, tmp_path)
    kept = {path.name: path.stat().st_mtime_ns for path in (small / "tiny" / "artifacts").iterdir()}
    information = tmp_path / "onnx-99.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: onnx\nVersion: 99.0\n")
    again, manifest = exported(small, tmp_path)
    # The new files equal the old ones, so that nothing that was found about them has to be found out again but by the package itself.
    assert again == {"export-onnx", *(f"delegation-{name}" for name in ONNX)}
    assert {path.name for path in (small / "tiny" / "artifacts").iterdir() if path.stat().st_mtime_ns != kept[path.name]} == ONNX
    made_with = {a["name"]: a["packages"].get("onnx") for a in manifest["artifacts"]}
    assert made_with == {"student-int8.onnx": "99.0", "student-fp32.onnx": "99.0", "student-int8.tflite": None}
    assert exported(small, tmp_path)[0] == set()


@pytest.mark.slow
def test_changed_code_of_a_backend_lowers_to_its_format_again(small: Path, tmp_path: Path) -> None:
    exported(small, tmp_path)
    shutil.copytree(Path(package.__file__).parent, tmp_path / "edgedistill", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("recipes", "targets"):
        shutil.copytree(Path(package.__file__).parent.parent / folder, tmp_path / folder)
    lowering = tmp_path / "edgedistill" / "backends" / "onnx" / "lower.py"
    lowering.write_text(lowering.read_text() + "\n# A comment.\n")
    assert exported(small, tmp_path)[0] == set()
    lowering.write_text(lowering.read_text() + "\n_UNUSED = 1\n")
    assert exported(small, tmp_path)[0] == {"export-onnx"}


@pytest.mark.parametrize("format_", list(backends()))
def test_a_lowering_declares_the_code_that_it_uses(format_: str) -> None:
    """What a converter imports belongs to its package, to what is declared as shared, or is an interface, which computes nothing."""
    shared = {name for module in SHARED for name in sources(module)}
    interfaces = {"child", "errors", "files", "packages", "records", "signature", "recipe", "backends"}
    for name, lines in sources(backends()[format_].lower).items():
        used = {module for module in imports(lines, name) if module.startswith("edgedistill.") and find_spec_of(module)}
        others = {module for module in used if module.split(".")[1] not in interfaces}
        assert all(any(f"{known}.".startswith(f"{module}.") for known in shared) for module in others), (name, others)


def find_spec_of(module: str) -> bool:
    """Whether a dotted name is a module, and not something in one."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
