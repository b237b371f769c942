"""The real kit of this machine's architecture, in a root that has no C library of its own, and the real signed index of Debian."""

import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgedistill.measure import kit, session
from edgedistill.measure.kit import fetching, index, lock, mirror, packages

ROOT = Path(__file__).parents[1]
ADAPTERS = {
    "pte": "edgedistill.backends.executorch.adapter_numpy",
    "onnx": "edgedistill.backends.onnx.adapter",
    "tflite": "edgedistill.backends.litert.adapter",
}
# Written to `folder`: a convolution net in three formats, inputs, and what the runtimes of this machine's Python answer.
MODELS = """
import sys
from pathlib import Path
import litert_torch, numpy as np, torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
folder = Path(sys.argv[1])
torch.manual_seed(0)
layers = torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5)
net, images = torch.nn.Sequential(*layers).eval(), torch.rand(6, 3, 16, 16)
exported = torch.export.export(net, (images[:1],))
(folder / "net.pte").write_bytes(to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)
torch.onnx.export(net, (images[:1],), folder / "net.onnx", dynamo=True, opset_version=18, verbose=False)
litert_torch.convert(net, (images[:1],)).export(str(folder / "net.tflite"))
np.save(folder / "inputs.npy", images.numpy())
np.save(folder / "expected.npy", torch.cat([net(image[None]) for image in images]).detach().numpy())
"""
RUN = """
import importlib, json, os, subprocess, sys
import numpy as np
name, form = sys.argv[1:]
adapter = importlib.import_module(name)
adapter.prepare(1)
forward = adapter.load(f"net.{form}", 1, {"inputs": [{"name": "x"}], "outputs": [{"name": "y"}]})
outputs = np.concatenate([forward({"x": image[None]})["y"] for image in np.load("inputs.npy")])
child = [sys.executable, "-c", "import sys, ctypes, hashlib, statistics, uuid, xml.dom.minidom; print(sys.executable)"]
print(json.dumps({
    "outputs": outputs.tolist(),
    "versions": adapter.versions(),
    "executable": sys.executable,
    "child": subprocess.run(child, capture_output=True, text=True).stdout.strip(),
    "path": sys.path,
    "python": sorted(name for name in os.environ if name.startswith("PYTHON")),
}))
"""


@pytest.fixture(scope="module")
def built() -> kit.Kit:
    return kit.build(platform.machine())


@pytest.fixture(scope="module")
def root(built: kit.Kit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with the kit in `/a kit`, `/job` with the adapters and the models, a static shell and /proc, and nothing else."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    folder = tmp_path_factory.mktemp("root")
    with tarfile.open(built.path) as archive:
        archive.extractall(folder / "a kit", filter="data")
    url, pinned = mirror.choose(None), lock.read(platform.machine())
    busybox = index.packages(url, pinned.suite, pinned.debian, {"busybox-static"})["busybox-static"]
    (folder / "bin").mkdir()
    (folder / "bin/sh").write_bytes(packages.unpack_deb(fetching.read(f"{url}/{busybox.path}"))["usr/bin/busybox"])
    (folder / "bin/sh").chmod(0o755)
    (folder / "proc").mkdir()
    with tarfile.open(fileobj=io.BytesIO(session.runner_code())) as archive:
        archive.extractall(folder / "job", filter="data")
    (folder / "job/run.py").write_text(RUN)
    subprocess.run([sys.executable, "-c", MODELS, folder / "job"], check=True, capture_output=True, cwd=ROOT)
    subprocess.run(["mount", "--bind", "/proc", folder / "proc"], check=True)
    yield folder
    subprocess.run(["umount", folder / "proc"], check=True)


@pytest.mark.parametrize("form", ADAPTERS)
def test_a_runtime_runs_where_there_is_no_c_library(root: Path, built: kit.Kit, form: str) -> None:
    command = ["chroot", root, "/bin/sh", "-c", f"cd /job && '/a kit/python' -c \"$(cat run.py)\" {ADAPTERS[form]} {form}"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    expected = np.load(root / "job/expected.npy")
    np.testing.assert_allclose(found["outputs"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.ptp(expected, axis=0).min() > 0
    assert found["executable"] == found["child"] == "/a kit/python"
    assert all(path.startswith("/a kit/") for path in found["path"] if path)
    assert found["python"] == ["PYTHONHOME", "PYTHONPATH"], "the kit sets no variable of its own"
    assert built.manifest.runtimes.items() >= found["versions"].items()
    assert not list((root / "job").rglob("*.pyc"))


def test_the_same_packages_make_the_same_bytes(built: kit.Kit, tmp_path: Path) -> None:
    again = kit.build(platform.machine(), cache=tmp_path)
    assert again.manifest.sha256 == built.manifest.sha256 == hashlib.sha256(again.path.read_bytes()).hexdigest()
    assert again.manifest.id == built.manifest.id
    assert built.manifest.packed_bytes < 50 * 2**20
