"""Runtimes of devices: which ones a Python has, and the adapters that this machine's Python has no package for, on stand-ins."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgedistill.measure.places import on_device
from edgedistill.measure.runner import available

ROOT = Path(__file__).parents[1]


def _python(script, *arguments, packages=None):
    """Standard output of `script`, with the folder `packages` importable."""
    path = os.pathsep.join([str(ROOT), *([str(packages)] if packages else [])])
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_available_names_the_runtimes_of_this_python():
    script = (
        "import json, sys\nfrom edgedistill.measure.runner import available\nprint(json.dumps(available.look(json.loads(sys.argv[1]))))"
    )
    packages = {adapter.module: adapter.package for adapters in on_device().values() for adapter in adapters}
    found = json.loads(_python(script, json.dumps(packages)))
    assert found["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert {f"edgedistill.backends.{name}.adapter" for name in ("executorch", "litert", "onnx")} <= set(found["adapters"])
    assert found["unusable"] == {}


def test_a_runtime_that_does_not_import_is_named_with_the_reason(monkeypatch):
    module = "edgedistill.backends.litert.adapter_tflite_runtime"
    packages = {module: "numpy", "no_such_adapter": "no-such-package"}
    found = available.look(packages)
    assert found["adapters"] == {}
    assert found["unusable"] == {module: f"numpy {np.__version__}: ModuleNotFoundError: No module named 'tflite_runtime'"}
    monkeypatch.setattr(available, "_PREPARE", "import os; os.kill(os.getpid(), 4)")
    assert available.look(packages)["unusable"][module].endswith("its import ended with signal 4")
    monkeypatch.setattr(available, "OLDEST", (99, 1))
    assert "the runner takes Python 99.1 or newer, found 3." in available.look(packages)["unusable"][module]


def test_tflite_runtime_runs_what_litert_runs(tiny, tmp_path):
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime/interpreter.py").write_text("from ai_edge_litert.interpreter import Interpreter\n")
    run = tiny / "runs/tiny"
    script = (
        "import sys\nimport numpy as np\nfrom edgedistill.backends.litert import adapter_tflite_runtime as adapter\n"
        "adapter.prepare(1)\nnames = {'inputs': [{'name': 'x'}], 'outputs': [{'name': 'y'}]}\n"
        "forward = adapter.load(sys.argv[1], 1, names)\nimages = np.load(sys.argv[2])[:3]\n"
        "np.save(sys.argv[3], np.concatenate([forward({'x': image[None]})['y'] for image in images]))\n"
    )
    model = run / "artifacts/student-fp32.tflite"
    _python(script, model, run / "work/holdout/samples/image.npy", tmp_path / "out.npy", packages=tmp_path)
    expected = np.load(run / "work/holdout-student-fp32.tflite/outputs/logits.npy")[:3]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


# The functions of ExecuTorch that the package's library exports, and a count of the calls that reset the pool.
CORE = """
namespace executorch { namespace extension { namespace threadpool {
struct ThreadPool { unsigned size; bool _unsafe_reset_threadpool(unsigned n); unsigned long get_thread_count() const; };
bool ThreadPool::_unsafe_reset_threadpool(unsigned n) { size = n; return true; }
unsigned long ThreadPool::get_thread_count() const { return size; }
ThreadPool pool{7};
ThreadPool* get_threadpool() { return &pool; }
}}}
"""
PACKAGE = """
import types
_core = types.SimpleNamespace(__file__=__file__.replace('__init__.py', 'core.so'))
class Runtime:
    @classmethod
    def get(cls): return cls()
    def load_program(self, path): self.path = path; return self
    def load_method(self, name): return lambda inputs: [inputs[0].mean(axis=(2, 3)) + len(self.path + name)]
"""


@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_executorch_numpy_sizes_the_thread_pool_before_it_loads(tmp_path):
    package = tmp_path / "executorch_numpy_runtime"
    package.mkdir()
    (package / "__init__.py").write_text(PACKAGE)
    (tmp_path / "core.cpp").write_text(CORE)
    subprocess.run(["c++", "-shared", "-fPIC", "-o", package / "core.so", tmp_path / "core.cpp"], check=True)
    (tmp_path / "net.pte").write_bytes(b"a file")
    script = (
        f"import os\nos.chdir({str(tmp_path)!r})\n"
        "import numpy as np\nfrom edgedistill.backends.executorch import adapter_numpy as adapter\n"
        "try:\n    adapter.load('net.pte', 2)\nexcept ValueError as error:\n    print(error)\n"
        "adapter.prepare(2)\nprint(adapter.load('net.pte', 2)({'x': np.ones((1, 3, 4, 4), np.float32)})['output_0'])\n"
    )
    assert _python(script, packages=tmp_path).splitlines() == [
        "the thread pool has 7 threads and 2 were asked for: call prepare(2) before load",
        "[[15. 15. 15.]]",
    ]
