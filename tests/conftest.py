"""One small run, made once and used by every test that needs trained models or artifacts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:
    # Threads of one process wait for each other by spinning, which costs the tests of the other worker their core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from filelock import FileLock

from edgedistill.signature import MethodSignature, TensorSpec

TINY = """# edgedistill run tiny.yaml
name: tiny
data: {image_size: 32, batch_size: 32, augment: {shift: 0.1, rotate: 10.0, scale: 0.1}, views: 2}
teacher: {model: test_resnet, train: {epochs: 4, lr: 3.0e-3, warmup: 0.2}}
student: {model: test_resnet}
distill:
  schedule: per-stage
  stages:
    - {name: align, epochs: 4, lr: 3.0e-3, losses: {kd: {}}}
    - {name: finetune, epochs: 2, lr: 1.0e-3}
    - {name: qat, epochs: 2, lr: 2.0e-4}
measure: {warmup_s: 0.1, max_s: 0.5, min_samples: 20}
# The fastest number is chosen by time, and another one gives other weights.
threads: 1
"""


def edgedistill(*arguments: object, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "edgedistill", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=900, **options)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.yaml and its finished run in runs/tiny; `result.json` is what the command printed."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _run(tmp_path_factory.mktemp("tiny"))
    # Workers share the run, and each has a copy: commands lock a run.
    made = tmp_path_factory.getbasetemp().parent / "tiny"
    with FileLock(made.with_suffix(".lock")):
        if not (made / "result.json").exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            _run(made)
    return shutil.copytree(made, tmp_path_factory.mktemp("tiny"), dirs_exist_ok=True, symlinks=True)


def _run(folder: Path) -> Path:
    (folder / "tiny.yaml").write_text(TINY)
    done = edgedistill("run", "tiny.yaml", "--json", cwd=folder)
    assert done.returncode in (0, 3), done.stderr[-3000:]
    (folder / "result.json").write_text(done.stdout)
    return folder


NAMES = {"inputs": [{"name": "x"}], "outputs": [{"name": "y"}]}
"""Names for a file with one input and one output."""
CLASSIFIER = MethodSignature(
    inputs=(TensorSpec(name="image", shape=(1, "channels", "height", "width")),), outputs=(TensorSpec(name="logits", shape=(1, "classes")),)
)


def classifier(images):
    """The signature of a classifier that takes such images, [N, ...] of any type."""
    image = TensorSpec(name="image", dtype=str(images.dtype), shape=(1, *images.shape[1:]))
    return CLASSIFIER.model_copy(update={"inputs": (image,)})


def plain(forward):
    """What a file loaded with NAMES computes, from its only input to its only output."""
    return lambda array: forward({"x": array})["y"]


def flips(a: np.ndarray, b: np.ndarray) -> int:
    """Samples of logits [N, classes] for which `a` and `b` name another class."""
    return int((a.argmax(axis=1) != b.argmax(axis=1)).sum())
