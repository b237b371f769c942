"""What tests of the harness share: a small model, and edgedistill started as a user starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 10


def small_model(path: Path, *, side: int = 16, width: int = 64) -> Path:
    """Write a small classifier as ONNX, float32 [1, 3, side, side] -> float32 [1, 10], that takes about 0.1 ms."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    shapes = {"w": (width, 3 * side * side), "v": (CLASSES, width)}
    weights = [numpy_helper.from_array(random.normal(0, 0.1, shape).astype(np.float32), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]), helper.make_node("Gemm", ["r", "v"], ["y"], transB=1),
    ]  # fmt: skip
    value = helper.make_tensor_value_info
    ports = [value("x", TensorProto.FLOAT, [1, 3, side, side])], [value("y", TensorProto.FLOAT, [1, CLASSES])]
    graph = helper.make_graph(nodes, "small", *ports, weights)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString())
    return path


@dataclass
class Command:
    """`edgedistill` started in a folder of its own; `document` is what it printed, `said` its stderr."""

    process: subprocess.Popen[str]
    folder: Path

    def wait(self, timeout_s: float = 240) -> int:
        """Its exit code."""
        self.out, self.said = self.process.communicate(timeout=timeout_s)
        return self.process.returncode

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.out)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)


def edgedistill(folder: Path, variables: Mapping[str, str], *words: object) -> Command:
    """Start `edgedistill WORDS... --json` in `folder`."""
    command = [sys.executable, "-m", "edgedistill", *map(str, words), "--json"]
    environment = os.environ | variables | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return Command(subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True), folder)


def until(condition: Callable[[], Any], timeout_s: float = 300) -> Any:
    """What `condition` gives when it is true; AssertionError after `timeout_s`."""
    limit = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < limit, f"still not so after {timeout_s} s: {condition}"
        time.sleep(0.02)
    return found
