"""The runner in a child process: real artifacts, runtimes that crash, hang or answer nonsense, and records that were tampered with."""

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSIFIER

from edgedistill.errors import DeviceFailed
from edgedistill.measure import records
from edgedistill.measure.local import execute
from edgedistill.measure.runner import facts
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.samples import Samples
from edgedistill.measure.runner.sampling import bench
from edgedistill.records import Unavailable

SAMPLES, CLASSES = 12, 5
BENCH = {"warmup_s": 0.5, "max_s": 1.0, "min_samples": 30, "relative_width": 0.02}


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """A small convolution net in three formats, its inputs and the outputs that PyTorch gives for them."""
    import executorch.kernels.quantized  # noqa: F401
    import litert_torch
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("artifacts")

    class Rounded(torch.nn.Module):
        def forward(self, image):
            quantized = torch.ops.quantized_decomposed.quantize_per_tensor(image.mean(dim=(2, 3)), 1 / 64, 0, -128, 127, torch.int8)
            return torch.ops.quantized_decomposed.dequantize_per_tensor(quantized, 1 / 64, 0, -128, 127, torch.int8)

    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, groups=8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, CLASSES),
    ).eval()
    images = torch.rand(SAMPLES, 3, 16, 16)
    example = (images[:1],)
    exported = torch.export.export(net, example)
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch()
    (folder / "net.pte").write_bytes(lowered.buffer)
    rounded = to_edge_transform_and_lower(torch.export.export(Rounded(), example)).to_executorch()
    (folder / "rounded.pte").write_bytes(rounded.buffer)
    torch.onnx.export(net, example, folder / "net.onnx", dynamo=True, opset_version=18, verbose=False)
    litert_torch.convert(net, example).export(str(folder / "net.tflite"))
    np.save(folder / "inputs.npy", images.numpy())
    with torch.inference_mode():
        expected = torch.cat([net(image[None]) for image in images]).numpy()
    return folder, expected


@pytest.fixture
def inputs(tmp_path):
    images = np.random.default_rng(0).random((SAMPLES, 3, 4, 4), dtype=np.float32)
    np.save(tmp_path / "inputs.npy", images)
    return tmp_path / "inputs.npy"


@pytest.fixture
def run(tmp_path, inputs, monkeypatch):
    """Run the body of a `run(image)` function as an adapter of its own, from image to logits; `options` replace arguments of `execute`."""

    def run_body(body, **options):
        indented = textwrap.indent(textwrap.dedent(body), " " * 8)
        source = (
            "import os, signal, sys, time\nimport numpy as np\ncalls = 0\n"
            "def versions():\n    return {'fake': '1'}\n"
            "def prepare(threads):\n    pass\n"
            f"def load(path, threads, signature):\n    def run(image):\n        global calls\n        calls += 1\n{indented}\n"
            "    return lambda arrays: {'logits': run(arrays['image'])}\n"
        )
        (tmp_path / "fake_runtime.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
        arguments = {
            "signature": CLASSIFIER,
            "outputs": tmp_path / "outputs.npy",
            "threads": 1,
            "bench": None,
            "log": tmp_path / "log.txt",
            "timeout_s": 60,
        }
        return execute("fake_runtime", tmp_path / "some.model", inputs, **{**arguments, **options})

    return run_body


GOOD = "return np.stack([image.mean(), image.max()])[None]"


@pytest.mark.parametrize(
    ("name", "adapter", "package"),
    [("net.pte", "executorch", "executorch"), ("net.onnx", "onnx", "onnxruntime"), ("net.tflite", "litert", "ai-edge-litert")],
)
def test_outputs_and_figures_of_real_artifacts(artifacts, tmp_path, name, adapter, package):
    folder, expected = artifacts
    result = execute(
        f"edgedistill.backends.{adapter}.adapter",
        folder / name,
        folder / "inputs.npy",
        signature=CLASSIFIER,
        outputs=tmp_path / "outputs.npy",
        threads=1,
        bench=BENCH,
        log=tmp_path / "log.txt",
        timeout_s=120,
    )
    outputs = np.load(result.outputs["logits"])
    assert outputs.dtype == np.float32
    tolerance = 1e-5 * np.abs(expected).max()
    assert np.ptp(expected, axis=0).min() > 100 * tolerance, "outputs that hardly depend on the input prove nothing"
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=tolerance)
    assert result.versions[package]
    assert result.facts["cores"] >= 1
    assert 0 < result.load_ms.warm < 1000
    assert 0 < result.load_ms.cold < 5000
    assert 0 < result.first_inference_ms < 5000
    assert result.latency_ms.n == len(result.raw_durations_ns) >= BENCH["min_samples"]
    assert 0 < result.latency_ms.p50 <= result.latency_ms.p95
    low, high = result.median_interval_ms
    assert low <= result.latency_ms.p50 <= high
    assert result.steady in (True, False)
    assert 0 < result.peak_rss_mb < 64
    assert not list(tmp_path.glob(".runner-*"))


def _execute(adapter, artifact, inputs, folder, threads=1):
    options = {
        "signature": CLASSIFIER,
        "outputs": folder / "outputs.npy",
        "threads": threads,
        "bench": None,
        "log": folder / "log.txt",
        "timeout_s": 120,
    }
    return np.load(execute(f"edgedistill.backends.{adapter}.adapter", artifact, inputs, **options).outputs["logits"])


def test_executorch_runs_quantize_and_dequantize_without_a_delegate(artifacts, tmp_path):
    folder, _ = artifacts
    outputs = _execute("executorch", folder / "rounded.pte", folder / "inputs.npy", tmp_path)
    means = np.load(folder / "inputs.npy").mean(axis=(2, 3))
    np.testing.assert_allclose(outputs, np.round(means * 64) / 64, atol=1e-6)


@pytest.mark.parametrize(("name", "adapter"), [("net.pte", "executorch"), ("net.onnx", "onnx"), ("net.tflite", "litert")])
def test_a_later_call_does_not_change_what_an_earlier_one_returned(artifacts, name, adapter):
    folder, _ = artifacts
    script = (
        f"import sys\nimport numpy as np\nfrom edgedistill.backends.{adapter} import adapter\n"
        "adapter.prepare(1)\nnames = {'inputs': [{'name': 'x'}], 'outputs': [{'name': 'y'}]}\n"
        "load = adapter.load(sys.argv[1], 1, names)\ndef forward(x):\n    return load({'x': x})['y']\nimages = np.load(sys.argv[2])\n"
        "first = forward(images[:1].copy())\nkept = first.copy()\nsecond = forward(images[1:2].copy())\n"
        "assert (kept != second).all(), 'the outputs must differ for this to prove something'\nassert (first == kept).all(), 'overwritten'"
    )
    command = [sys.executable, "-c", script, str(folder / name), str(folder / "inputs.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]


def test_executorch_refuses_a_pool_of_the_wrong_size(tmp_path):
    script = (
        "from edgedistill.backends.executorch import adapter as executorch\nexecutorch.prepare(1)\n"
        "try:\n    executorch.load('none.pte', 2)\nexcept ValueError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "call prepare(2) before load" in found


def test_onnxruntime_does_not_saturate(tmp_path):
    # 64 products of 255 and 127: the fast kernels of x86 without VNNI add pairs of them in int16 and answer half of the right sum.
    from onnx import TensorProto, helper, numpy_helper, save_model

    channels = 64
    constants = {
        "sx": np.float32(1 / 255),
        "zx": np.uint8(0),
        "w": np.full((4, channels, 1, 1), 127, np.int8),
        "sw": np.float32(0.01),
        "zw": np.int8(0),
        "sy": np.float32(0.5),
        "zy": np.uint8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "sy", "zy"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "sy", "zy"], ["yd"]),
        helper.make_node("Flatten", ["yd"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 1, 1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(tmp_path / "conv.onnx"))
    np.save(tmp_path / "ones.npy", np.ones((1, channels, 1, 1), np.float32))
    outputs = _execute("onnx", tmp_path / "conv.onnx", tmp_path / "ones.npy", tmp_path)
    np.testing.assert_allclose(outputs, 0.01 * 127 * channels, atol=0.25)


def test_only_one_runtime_lives_in_a_process(artifacts, tmp_path):
    folder, _ = artifacts
    script = (
        "import sys\nfrom edgedistill.backends.onnx import adapter\nadapter.prepare(1)\nadapter.load(sys.argv[1], 1)\n"
        "import edgedistill.measure.runner.sequence\n"
        "print(sorted(m for m in sys.modules if m in ('torch', 'onnxruntime', 'ai_edge_litert', 'executorch', 'coremltools', 'pydantic')))"
    )
    found = subprocess.run([sys.executable, "-c", script, str(folder / "net.onnx")], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['onnxruntime']"


def test_a_truncated_artifact_is_a_failure_not_a_crash(artifacts, tmp_path):
    folder, _ = artifacts
    (tmp_path / "half.onnx").write_bytes((folder / "net.onnx").read_bytes()[:300])
    with pytest.raises(DeviceFailed, match=r"half\.onnx did not run with edgedistill\.backends\.onnx\.adapter: .*log\.txt"):
        execute(
            "edgedistill.backends.onnx.adapter",
            tmp_path / "half.onnx",
            folder / "inputs.npy",
            signature=CLASSIFIER,
            outputs=None,
            threads=1,
            bench=None,
            log=tmp_path / "log.txt",
            timeout_s=60,
        )
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_every_input_is_run_once_and_in_order(run, inputs):
    result = run(GOOD)
    images = np.load(inputs)
    expected = np.stack([images.mean(axis=(1, 2, 3)), images.max(axis=(1, 2, 3))], axis=1)
    np.testing.assert_allclose(np.load(result.outputs["logits"]), expected, rtol=1e-6)
    assert result.latency_ms is None
    assert result.steady is None
    assert result.raw_durations_ns == []


def test_outputs_are_copied_even_if_the_runtime_reuses_its_memory(run, inputs):
    result = run("memory = globals().setdefault('memory', np.empty((1, 1), np.float32))\nmemory[0, 0] = image.max()\nreturn memory")
    np.testing.assert_array_equal(np.load(result.outputs["logits"])[:, 0], np.load(inputs).max(axis=(1, 2, 3)))


def test_a_crash_names_the_artifact_the_signal_and_the_log(run):
    with pytest.raises(DeviceFailed, match=r"some\.model.*fake_runtime.*SIGKILL.*last words.*log\.txt"):
        run("print('last words', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)")


def test_a_quiet_exit_is_not_a_run(run):
    with pytest.raises(DeviceFailed, match="stopped before its end record, after its 'load' record"):
        run("os._exit(0)")


def test_an_exception_keeps_its_message_and_traceback(run, tmp_path):
    with pytest.raises(DeviceFailed, match="RuntimeError: no such operator"):
        run("raise RuntimeError('no such operator')")
    assert "Traceback" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return np.full((1, 2), np.nan if calls == 4 else 1, np.float32)", "output logits of sample 2: 2 of 2 values are NaN or infinite"),
        (
            "return np.zeros((1, 3 if calls == 5 else 2), np.float32)",
            r"output logits of sample 3: expected float32\[1,2\], found float32\[1,3\]",
        ),
        ("return np.zeros((2, 2), np.float32)", r"output logits of sample 0: expected float32\[1,classes\], found float32\[2,2\]"),
        ("return np.zeros((1, 2), np.int8)", r"output logits of sample 0: expected float32\[1,classes\], found int8\[1,2\]"),
        ("return [1.0]", r"output logits of sample 0: expected float32\[1,classes\], found list"),
    ],
    ids=["nan", "changing width", "batch of two", "int8", "list"],
)
def test_nonsense_outputs_are_named(run, tmp_path, body, message):
    with pytest.raises(DeviceFailed, match=message):
        run(body)
    assert not (tmp_path / "outputs.npy").exists()


def test_a_hang_ends_after_the_timeout_with_all_its_processes(run, tmp_path):
    started = time.monotonic()
    pid_file = tmp_path / "pid"
    with pytest.raises(DeviceFailed, match="had not finished after 5 s"):
        run(
            f"import subprocess\np = subprocess.Popen(['sleep', '60'])\nopen({str(pid_file)!r}, 'w').write(str(p.pid))\ntime.sleep(60)",
            timeout_s=5,
        )
    assert time.monotonic() - started < 30
    for _ in range(50):
        if not _alive(int(pid_file.read_text())):
            return
        time.sleep(0.1)
    pytest.fail("a process that the runner had started outlived it")


def _alive(pid):
    try:
        return "Z" not in re.search(r"\) (\S)", Path(f"/proc/{pid}/stat").read_text())[1]
    except FileNotFoundError:
        return False


def test_wrong_inputs_are_named(run, tmp_path):
    np.save(tmp_path / "inputs.npy", np.zeros((2, 3), np.float64))
    with pytest.raises(
        DeviceFailed, match=r"expected float32\[N,channels,height,width\] with N > 0 for the input image, found float64\[2,3\]"
    ):
        run(GOOD)


def test_memory_counts_what_the_model_takes(run):
    body = (
        "if calls == 1:\n    block = np.ones(40 * 2**20, np.uint8)\n    del block\n"
        "elif calls > 2:\n    globals()['big'] = np.ones(90 * 2**20, np.uint8)\n"
    )
    result = run(body + GOOD)
    assert 39 < result.peak_rss_mb < 60, "the peak is that of the load and the first inference, also of memory that was freed again"
    assert "clear_refs" in result.peak_rss_source


def test_a_peak_hidden_by_the_import_is_unavailable(monkeypatch):
    monkeypatch.setattr(facts, "_CLEAR_REFS", "/proc/self/no-such-file")
    watch = facts.watch_peak()
    assert watch.reset is False
    hidden = facts.peak_since(watch._replace(high=watch.high + 2**30))
    assert hidden.peak_rss is None
    assert "not writable" in hidden.source
    raised = facts.peak_since(watch._replace(high=1))
    assert raised.peak_rss > 2**20


def test_the_benchmark_is_timed_right(run):
    result = run(f"time.sleep(0.004)\n{GOOD}", bench={**BENCH, "relative_width": 0.05}, outputs=None)
    assert 4 <= result.latency_ms.p50 < 40
    assert result.outputs is None
    assert 4e6 <= min(result.raw_durations_ns)


def test_the_warm_up_is_not_counted(run):
    # The first thirty inferences of the benchmark are slow; a median over all would still hide them, so the largest tells.
    slow = f"time.sleep(0.02 if calls < 30 else 0.002)\n{GOOD}"
    result = run(slow, bench={"warmup_s": 8, "max_s": 0.6, "min_samples": 30, "relative_width": 0.05}, outputs=None)
    assert result.steady is True
    assert np.percentile(result.raw_durations_ns, 90) < 15e6


class _Collector:
    def __init__(self):
        self.records = []

    def write(self, record_type, /, **fields):
        self.records.append({"type": record_type, **fields})

    def durations(self):
        return [ns for record in self.records if record["type"] == "iterations" for ns in record["durations_ns"]]


def _spin(durations_s):
    turns = iter(durations_s)

    def forward(sample):
        end = time.perf_counter() + next(turns)
        while time.perf_counter() < end:
            pass

    return forward


def test_sampling_stops_when_the_median_is_known_or_time_is_up():
    samples = [{}, {}]
    settings = {"warmup_s": 0.1, "max_s": 10, "min_samples": 20, "relative_width": 0.2}
    stable = _Collector()
    started = time.monotonic()
    bench(_spin(iter(lambda: 0.002, None)), samples, settings, stable)
    assert time.monotonic() - started < 5
    wild = _Collector()
    started = time.monotonic()
    # Half the inferences take ten times as long as the others: the interval of the median stays wide.
    bench(_spin(0.001 if i % 2 else 0.01 for i in range(10**6)), samples, settings | {"max_s": 1.2, "relative_width": 1e-4}, wild)
    assert 1.2 <= time.monotonic() - started < 5


def test_the_benchmark_takes_the_inputs_in_turn(tmp_path):
    np.save(tmp_path / "image.npy", np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1))
    samples = Samples({"image": str(tmp_path / "image.npy")}, [{"name": "image", "dtype": "float32", "shape": [1, 1, 1, 1]}])
    seen = []

    def forward(sample):
        assert sample["image"].shape == (1, 1, 1, 1)
        seen.append(int(sample["image"][0, 0, 0, 0]))
        time.sleep(0.001)

    bench(forward, samples, {"warmup_s": 0.1, "max_s": 0.1, "min_samples": 5, "relative_width": 0.01}, _Collector())
    assert len(seen) > 10
    assert seen == [i % 3 for i in range(len(seen))]


def test_the_least_number_of_samples_is_taken_even_when_time_is_up():
    collected = _Collector()
    settings = {"warmup_s": 0, "max_s": 0.01, "min_samples": 25, "relative_width": 0.01}
    bench(_spin(iter(lambda: 0.01, None)), [{}], settings, collected)
    assert 25 <= len(collected.durations()) <= 40


def test_records_are_on_disk_before_the_next_thing_happens(tmp_path):
    with open(tmp_path / "out.jsonl", "wb") as handle:
        Recorder(handle).write("start", nonce="n")
        assert json.loads((tmp_path / "out.jsonl").read_text()) == {"type": "start", "nonce": "n"}


@pytest.fixture
def complete(tmp_path):
    """The bytes of a complete run with the nonce `good`."""
    path = tmp_path / "out.jsonl"
    with open(path, "wb") as handle:
        recorder = Recorder(handle)
        recorder.write("start", nonce="good", versions={}, facts={})
        recorder.write("iterations", t0_ns=1, durations_ns=[10, 20, 30])
        recorder.end("good")
    return path.read_bytes()


def test_a_complete_run_is_accepted(complete):
    kinds = [record["type"] for record in records.parse(complete, "good")]
    assert kinds == ["start", "iterations", "end"]
    *before, end = complete.splitlines(keepends=True)
    assert json.loads(end)["sha256"] == hashlib.sha256(b"".join(before)).hexdigest()


def test_a_run_cut_at_any_byte_is_refused(complete):
    for length in range(len(complete) - 1):
        with pytest.raises(DeviceFailed, match="before its end record"):
            records.parse(complete[:length], "good")


def test_another_runs_nonce_is_refused(complete):
    with pytest.raises(DeviceFailed, match="expected nonce other, found good"):
        records.parse(complete, "other")
    first, second, end = complete.splitlines(keepends=True)
    with pytest.raises(DeviceFailed, match="expected nonce good, found good and other"):
        records.parse(first + second + end.replace(b"good", b"other"), "good")
    with pytest.raises(DeviceFailed, match="expected nonce good, found other and good"):
        records.parse(first.replace(b"good", b"other") + second + end, "good")


def test_changed_or_lost_records_are_refused(complete):
    first, second, end = complete.splitlines(keepends=True)
    with pytest.raises(DeviceFailed, match="changed or lost"):
        records.parse(first + second.replace(b"20", b"21") + end, "good")
    with pytest.raises(DeviceFailed, match="changed or lost"):
        records.parse(first + end, "good")
    with pytest.raises(DeviceFailed, match="before its end record"):
        records.parse(complete + first, "good")


def test_an_output_file_that_is_not_the_runners_is_refused(tmp_path):
    (tmp_path / "outputs.npy").write_bytes(b"something else")
    base = [
        {"type": "start", "versions": {}, "facts": {}},
        {"type": "load", "kind": "first", "ns": 1},
        {"type": "load", "kind": "warm", "ns": 1},
        {"type": "first_inference", "ns": 1},
        {"type": "memory", "rss_runtime_loaded": None, "peak_rss": None, "source": "no /proc here"},
    ]
    assert records.to_execution(base, None).peak_rss_mb == Unavailable(unavailable="no /proc here")
    with pytest.raises(DeviceFailed, match="has no output record"):
        records.to_execution(base, {"logits": tmp_path / "outputs.npy"})
    with pytest.raises(DeviceFailed, match="expected the outputs with SHA-256 abc"):
        records.to_execution([*base, {"type": "output", "name": "logits", "sha256": "abc"}], {"logits": tmp_path / "outputs.npy"})


def test_facts_name_the_processor():
    found = facts.machine()
    assert found["cpu"]
    assert found["cores"] >= 1
    if "avx2" in Path("/proc/cpuinfo").read_text().split():
        assert "avx2" in found["cpu_flags"]
    assert not {"smep", "sse2", "fpu"} & set(found["cpu_flags"])
