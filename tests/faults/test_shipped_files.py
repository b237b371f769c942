"""What is shipped was verified, byte for byte; and the same export gives the same bytes."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import edgedistill

from edgedistill.files import sha256_tree


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "copy", symlinks=True)


def summary(copy: Path) -> dict:
    return json.loads((copy / "runs/tiny/summary.json").read_text())


@pytest.mark.slow
def test_a_changed_or_missing_file_is_not_shipped_and_is_made_again_with_the_same_bytes(copy: Path) -> None:
    files = {path.name: sha256_tree(path) for path in (copy / "runs/tiny/artifacts").iterdir()}
    changed, gone = copy / "runs/tiny/artifacts/student-int8.tflite", copy / "runs/tiny/artifacts/student-fp32.pte"
    changed.write_bytes(changed.read_bytes() + b"\0")
    gone.unlink()
    assert edgedistill("report", "runs/tiny", cwd=copy).returncode == 0
    after = summary(copy)
    rows = {row["name"]: row for row in after["artifacts"]}
    assert (after["status"], rows[changed.name]["ok"], rows[gone.name]["ok"]) == ("check_failed", False, False)
    assert "the file changed after it was lowered: SHA-256 " in rows[changed.name]["parity"]["unavailable"]
    assert f"{gone.name}: the file is missing; `edgedistill export runs/tiny` makes it again" in after["failed"]
    assert "android" not in after["bundles"]
    assert not (copy / "runs/tiny/bundles/android").exists()
    # All formats, so that each is seen to give the same bytes twice.
    for path in (copy / "runs/tiny/artifacts").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = edgedistill("export", "runs/tiny", "--json", cwd=copy)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name: sha256_tree(path) for path in (copy / "runs/tiny/artifacts").iterdir()} == files
    assert json.loads(done.stdout)["bundles"]["android"]


def test_a_bundle_lists_every_file_with_its_hash(tiny: Path) -> None:
    folder = tiny / "runs/tiny/bundles/android"
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {path.relative_to(folder).as_posix(): sha256_tree(path) for path in folder.rglob("*") if path.is_file()}
    assert manifest["files"] == {name: value for name, value in files.items() if name != "manifest.json"}
