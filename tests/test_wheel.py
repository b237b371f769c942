"""An installed wheel is complete: it holds the recipes and targets, and the commands find them there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel of this checkout is installed in, without the packages it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, ROOT], check=True, timeout=300)
    (wheel,) = folder.glob("edgedistill-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "site", wheel], check=True, timeout=300)
    return folder / "site"


def call(installed: Path, *arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "edgedistill", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_every_recipe_and_target(installed: Path, tmp_path: Path):
    where = [sys.executable, "-c", "import edgedistill; print(edgedistill.__file__)"]
    there = subprocess.run(where, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}, capture_output=True, text=True)
    assert Path(there.stdout.strip()).is_relative_to(installed)
    for kind in ("recipes", "targets"):
        names = {path.relative_to(ROOT / kind).with_suffix("").as_posix() for path in (ROOT / kind).rglob("*.yaml")}
        assert {item["name"] for item in json.loads(call(installed, kind, "--json", cwd=tmp_path))[kind]} == names


def test_an_installed_recipe_is_the_one_of_the_repository(installed: Path, tmp_path: Path):
    assert call(installed, "recipes", "quickstart", cwd=tmp_path) == (ROOT / "recipes/quickstart.yaml").read_text()


def test_the_wheel_is_typed_and_holds_nothing_else(installed: Path):
    assert (installed / "edgedistill/py.typed").is_file()
    top = {path.name for path in installed.iterdir()} - {"bin"}
    assert top == {"edgedistill", *(path.name for path in installed.glob("edgedistill-*.dist-info"))}
