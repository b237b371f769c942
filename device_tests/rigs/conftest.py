"""A bundle of a trained model, for tests that want all formats and real outputs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device_tests.rigs.harness import ROOT

_RECIPE = """# edgedistill run small.yaml
name: small
targets: [raspberry-pi]
data: {image_size: 32, batch_size: 32, views: 1}
teacher: {model: test_resnet, train: {epochs: 2, lr: 3.0e-3}}
student: {model: test_resnet}
distill:
  control: false
  stages:
    - {name: finetune, epochs: 1, lr: 1.0e-3}
    - {name: qat, epochs: 1, lr: 2.0e-4}
measure: {warmup_s: 0.1, max_s: 0.2, min_samples: 20}
"""


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """int8 and fp32 as .pte, .tflite and .onnx, with golden outputs."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "small.yaml").write_text(_RECIPE)
    command = [sys.executable, "-m", "edgedistill", "run", "small.yaml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode in (0, 3), done.stderr[-3000:]
    return folder / "runs/small/bundles/raspberry-pi"
