"""An installed wheel is complete: it has its recipes and targets, and without extras it measures, inspects, and says what is missing."""

import json
import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def needed(names: list[str]) -> set[str]:
    """The packages `names` and all that they require."""
    known: set[str] = set()
    while names:
        name = names.pop()
        if name in known:
            continue
        known.add(name)
        requirements = [Requirement(text) for text in metadata.requires(name) or []]
        names += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return known


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel of this checkout, what it requires, and no extra."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, ROOT], check=True, timeout=300)
    (wheel,) = folder.glob("edgedistill-*.whl")
    venv.create(folder / "env")
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env"), "platbase": str(folder / "env")}))
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", site, wheel], check=True, timeout=300)
    (described,) = metadata.distributions(name="edgedistill", path=[str(site)])
    own = [one for one in map(Requirement, described.requires or []) if one.marker is None]
    # Links to what is installed here, since a test downloads nothing.
    for name in needed([one.name for one in own]):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder / "env/bin/python"


def call(python: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "edgedistill", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=300)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An ONNX classifier of images of 8 x 8 pixels."""
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(192, 4)).astype(np.float32), "weight")
    nodes = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "weight"], ["logits"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("image", [1, 3, 8, 8]), ("logits", [1, 4]))]
    graph = helper.make_graph(nodes, "classifier", ports[:1], ports[1:], [weight])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_it_has_every_recipe_and_target_and_is_typed(base: Path, tmp_path: Path) -> None:
    for kind in ("recipes", "targets"):
        names = {path.relative_to(ROOT / kind).with_suffix("").as_posix() for path in (ROOT / kind).rglob("*.yaml")}
        assert {item["name"] for item in json.loads(call(base, kind, "--json", cwd=tmp_path).stdout)[kind]} == names
    assert call(base, "recipes", "quickstart", cwd=tmp_path).stdout == (ROOT / "recipes/quickstart.yaml").read_text()
    code = (
        "import edgedistill, importlib.util, pathlib; print(pathlib.Path(edgedistill.__file__).parent, importlib.util.find_spec('torch'))"
    )
    done = subprocess.run([base, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    package, torch = done.stdout.split()
    assert Path(package).is_relative_to(base.parent.parent)
    assert torch == "None"
    assert (Path(package) / "py.typed").is_file()


def test_without_extras_it_measures_and_inspects(base: Path, model: Path, tmp_path: Path) -> None:
    inspected = json.loads(call(base, "inspect", model, "--json", cwd=tmp_path).stdout)
    assert inspected["operators"] == {"Flatten": 1, "MatMul": 1}
    measured = call(base, "bench", model, "--json", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    assert json.loads(measured.stdout)["latency_ms"]["p50"] > 0
    on_device = call(base, "bench", model, "--device", "local", "--preset", "quick", "--seconds", "0.2", cwd=tmp_path)
    assert on_device.returncode == 0, on_device.stderr
    listed = json.loads(call(base, "results", "--json", cwd=tmp_path).stdout)["measurements"]
    assert [one["artifact"]["name"] for one in listed] == ["model.onnx"]
    (local,) = [one for one in json.loads(call(base, "devices", "--json", cwd=tmp_path).stdout)["devices"] if one["spec"] == "local"]
    assert local["abi"]


def test_without_extras_doctor_finds_nothing_wrong(base: Path, tmp_path: Path) -> None:
    done = call(base, "doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert {name: rows[name]["status"] for name in ("packages", "LiteRT", "ONNX Runtime", "extra export")} == {
        "packages": "ok", "LiteRT": "ok", "ONNX Runtime": "ok", "extra export": "missing",
    }  # fmt: skip
    assert rows["ExecuTorch"]["get"] == "pip install 'edgedistill[train]'"
    assert rows["Core ML converter"]["get"] == "pip install 'edgedistill[export]'"


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["run", "quickstart"], "export,report"),
        (["distill", "quickstart"], "train,report"),
        (["students"], "export"),
        (["inspect", "model.pte"], "train"),
        (["results", "--export", "all.parquet"], "report"),
    ],
)
def test_a_command_whose_extra_is_missing_says_which(base: Path, model: Path, arguments: list[str], extra: str) -> None:
    folder = model.parent
    (folder / "model.pte").write_bytes(b"\x00\x00\x00\x00ET12" + bytes(64))
    assert call(base, "bench", model, "--device", "local", "--preset", "quick", "--seconds", "0.1", cwd=folder).returncode == 0
    done = call(base, *arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"pip install 'edgedistill[{extra}]'"), done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "runs").exists()
