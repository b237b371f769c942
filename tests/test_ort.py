"""ORT files: converted so that any processor runs them, verified as the .onnx is, with the operators that a minimal build needs."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import edgedistill

from edgedistill.backends.delegation import delegation
from edgedistill.backends.inspect import inspect
from edgedistill.backends.onnx import ort_operators
from edgedistill.errors import DeviceFailed
from edgedistill.files import sha256_file


@pytest.fixture(scope="module")
def exported(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A run with the files of onnx-mobile, and what the command printed."""
    folder = tmp_path_factory.mktemp("ort")
    shutil.copytree(tiny / "runs" / "tiny", folder / "tiny")
    done = edgedistill("export", "tiny", "--target", "onnx-mobile", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "tiny", json.loads(done.stdout)


def operators(config: Path) -> set[str]:
    """The operators of a configuration as `inspect` names them."""
    found = set()
    for line in config.read_text().splitlines():
        if not line.startswith("#"):
            domain, _, names = line.split(";", 2)
            found |= {name if domain == "ai.onnx" else f"{domain}.{name}" for name in re.sub(r"\{.*?\}\}", "", names).split(",")}
    return found


def test_int8_is_fused_in_the_file_and_verified_as_the_onnx_is(exported: tuple[Path, dict]) -> None:
    run, document = exported
    by_name = {a["name"]: a for a in document["artifacts"]}
    int8 = by_name["student-int8.ort"]
    assert int8["ok"]
    assert int8["parity"]["reference"] == "integer"
    assert int8["executed_by"] == "own_runtime"
    assert by_name["student-fp32.ort"]["parity"]["reference"] == "student"
    facts = inspect(run / "artifacts" / "student-int8.ort")
    assert facts.metadata["role"] == "student"
    kinds = facts.operators
    assert kinds["com.microsoft.QLinearConv"] > 5
    assert "Conv" not in kinds
    for name in by_name:
        if name.endswith(".ort"):
            layouts = inspect(run / "artifacts" / name).operators
            assert not [kind for kind in layouts if "nchwc" in kind.lower() or "Reorder" in kind], "only x86 computes in blocks of channels"
    compared = delegation("onnx", run / "artifacts" / "student-int8.onnx")
    assert int8["delegation"]["operators"]["integer"].keys() == compared.operators["integer"].keys()
    assert int8["delegation"]["outside"] == compared.outside


def test_a_bundle_says_which_operators_its_build_needs(exported: tuple[Path, dict]) -> None:
    run, document = exported
    bundle = Path(run.parent, document["bundles"]["onnx-mobile"])
    needed = {kind for name in ("int8", "fp32") for kind in inspect(bundle / f"student-{name}.ort").operators}
    listed = json.loads((bundle / "manifest.json").read_text())["minimal_build"]
    for key, name in (("operators", ort_operators.OPERATORS), ("operators_and_types", ort_operators.TYPES)):
        assert listed[key] == {"path": name, "sha256": sha256_file(bundle / name)}
        assert operators(bundle / name) == needed
        assert (run / "artifacts" / name).read_bytes() == (bundle / name).read_bytes(), "of the same files, and no folder's name is in it"
    assert 'Conv{"inputs": {"0": ["float"]}}' in (bundle / ort_operators.TYPES).read_text()


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.ort").write_bytes(b"\x08\0\0\0ORTM" + bytes(40))
    with pytest.raises(DeviceFailed, match=r"cut\.ort"):
        ort_operators.write(tmp_path, ["cut.ort"])
