"""A user's own benchmark program: its kind, its command line, and the figures in what it prints."""

import hashlib
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic_core import to_jsonable_python

from edgedistill.cli.harness import show
from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure import binaries, own_runner
from edgedistill.measure.binaries import output as readers
from edgedistill.measure.harness import Protocol
from edgedistill.measure.own_runner import bench_with
from edgedistill.measure.runner import program
from edgedistill.records.stored import DeviceBench


class _AsJson:
    """The readers of the tools' output, whose figures are JSON here."""

    def __getattr__(self, name):
        return lambda text: to_jsonable_python(getattr(readers, name)(text))


output = _AsJson()
# Lines as the tools print them; warm-up, timed runs and profile differ on purpose.
BENCHMARK_MODEL = """INFO: STARTING!
INFO: Loaded model /data/local/tmp/net.tflite
INFO: The input model file size (MB): 3.06
INFO: Initialized session in 12.75ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=34 first=14744 curr=13800 min=13500 max=15000 avg=13764.3 std=300

INFO: Running benchmark for at least 20 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=74 first=14850 curr=13315 min=13105 max=15765 avg=13520.2 std=470{newer}

INFO: Inference timings in us: Init: 12750, First inference: 14744, Warmup (avg): 13764.3, Inference (avg): 13520.2
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE.
INFO: Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227
INFO: Timings (microseconds): count=99 first=1 curr=2 min=1 max=2 avg=1.5 std=0
"""
LITERT_MODEL = """INFO: [benchmark_model.cc:1] Running benchmark for at least 20 iterations and at least 1 seconds but terminate
INFO: [benchmark_model.cc:2] count=74 first=14850 curr=13315 min=13105 max=15765 avg=13520.2 std=470 p5=13200 median=13400 p95=14100
INFO: [benchmark_litert_model.h:60]
========== BENCHMARK RESULTS ==========
INFO: [benchmark_litert_model.h:61] Model initialization: 12.75 ms
INFO: [benchmark_litert_model.h:62] Warmup (first):       14.74 ms
INFO: [benchmark_litert_model.h:63] Warmup (avg):         13.76 ms (34 runs)
INFO: [benchmark_litert_model.h:64] Inference (avg):      13.52 ms (74 runs)
INFO: [benchmark_litert_model.h:70] Init footprint:       8.98 MB
INFO: [benchmark_litert_model.h:71] Overall footprint:    18.72 MB
"""
PERF_TEST = """Setting intra_op_num_threads to 1
Session creation time cost: 0.512 s
First inference time cost: 12 ms
Total inference time cost: 5.88053 s
Total inference requests: 1000
Average inference time cost total: 5.880530 ms
Total inference run time: 5.88102 s
Number of inferences per second: 170.04
Avg CPU usage: 98 %
Peak working set size: 158171136 bytes
Avg CPU usage:98
Peak working set size:158171136
Runs:1000
Min Latency: 0.0055977 s
P50 Latency: 0.00587108 s
P90 Latency: 0.00599845 s
P95 Latency: 0.00605676 s
P99 Latency: 0.0619517 s
P999 Latency: 0.0623472 s
"""
PERF_TEST_OLD = """Total time cost:58.8053
Total iterations:1000
Average time cost:58.8053 ms
P50 Latency is 0.0587108sec
P95 Latency is 0.0605676sec
P99 Latency is 0.0619517sec
P999 Latency is 0.0623472sec
"""
EXECUTOR = "I 00:00:00.004 executorch:executor_runner.cpp:700] "
EXECUTOR_RUNNER = "".join(
    f"{EXECUTOR}{line}\n"
    for line in [
        "Model loaded in 4.250000 ms.",
        *(f"Iteration {i + 1} of 31: {20 if i == 0 else 2 + i / 100:f} ms" for i in range(31)),
        "Model executed successfully 31 time(s) in 84.650000 ms.",
        "1 outputs: ",
    ]
)
LLM = (
    'PyTorchObserver {"prompt_tokens":31,"generated_tokens":96,"model_load_start_ms":1000,"model_load_end_ms":3500,'
    '"inference_start_ms":3600,"inference_end_ms":8600,"prompt_eval_end_ms":3910,"first_token_ms":3850,'
    '"aggregate_sampling_time_ms":12,"SCALING_FACTOR_UNITS_PER_SECOND":1000}'
)


def test_benchmark_model_is_read():
    figures = output.benchmark_model(BENCHMARK_MODEL.format(newer=" p5=13200 median=13400 p95=14100"))
    assert figures["load_ms"]["cold"] == pytest.approx(12.75)
    assert figures["first_inference_ms"] == pytest.approx(14.744)
    latency = figures["latency_ms"]
    assert (latency["average"], latency["p50"], latency["p95"]) == pytest.approx((13.5202, 13.4, 14.1))
    assert latency["n"] == 74
    assert latency["p99"]["value"] is None
    assert figures["peak_rss_mb"] == pytest.approx(18.7227)
    none = output.benchmark_model(BENCHMARK_MODEL.format(newer="").replace("overall=18.7227", "overall=0"))
    assert none["peak_rss_mb"] == {"value": None, "unavailable": "the tool printed no growth of its memory"}
    # The prefix is that of the log, or there is none.
    for prefix in ("", "07-14 13:14:52.190 22838 22838 I tflite  : "):
        assert output.benchmark_model(BENCHMARK_MODEL.format(newer=" p5=1 median=13400 p95=14100").replace("INFO: ", prefix)) == figures


def test_an_average_is_not_a_median():
    latency = output.benchmark_model(BENCHMARK_MODEL.format(newer=""))["latency_ms"]
    assert latency["average"] == pytest.approx(13.5202)
    assert latency["p50"] == {"value": None, "unavailable": "this build prints the average only"}
    assert latency["p95"]["value"] is None


@pytest.mark.parametrize("same", ["count=1 curr=147", "count=50 curr=147(all same)"])
def test_a_series_of_equal_durations_has_its_median(same):
    text = f"Running benchmark for at least 1 iterations\n{same}\nInference timings in us: Init: 9, Inference (avg): 147\n"
    figures = output.benchmark_model(text)
    assert (figures["latency_ms"]["p50"], figures["latency_ms"]["p95"]) == pytest.approx((0.147, 0.147))
    assert figures["first_inference_ms"]["value"] is None
    assert figures["peak_rss_mb"]["value"] is None


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (output.benchmark_model, "Failed to load the graph", "no line 'Inference timings in us'"),
        (
            output.benchmark_model,
            "Inference timings in us: Init: 9, First inference: 0, Warmup (avg): nan, Inference (avg): nan",
            "no line",
        ),
        (output.benchmark_model, "Running benchmark for at least 0\ncount=0\nInference timings in us: Inference (avg): 1", "no inference"),
        (output.perf_test, "there is no test data for model net", "no line 'Average inference time cost'"),
        (output.executor_runner, "Model file net.pte is loaded.", "no line 'Model executed successfully'"),
        (output.executor_runner, "Model executed successfully 0 time(s) in 0.0 ms.", "no inference"),
        (output.llm_runner, "Once upon a time", "no line 'PyTorchObserver"),
        (output.llm_runner, 'PyTorchObserver {"prompt_tokens":31}', "lacks or garbles 'inference_start_ms'"),
        (output.llm_runner, LLM.replace(":96", ":0"), "generated no token"),
    ],
)
def test_what_is_no_result_is_a_failure(parse, text, message):
    with pytest.raises(DeviceFailed, match=message):
        parse(text)


def test_benchmark_litert_model_is_read():
    figures = output.benchmark_litert_model(LITERT_MODEL)
    assert (figures["load_ms"]["cold"], figures["first_inference_ms"], figures["peak_rss_mb"]) == pytest.approx((12.75, 14.74, 18.72))
    latency = figures["latency_ms"]
    assert (latency["average"], latency["p50"], latency["p95"], latency["n"]) == pytest.approx((13.52, 13.4, 14.1, 74))


def test_perf_test_is_read():
    figures = output.perf_test(PERF_TEST)
    assert figures["load_ms"]["cold"] == pytest.approx(512)
    assert figures["first_inference_ms"] == 12
    latency = figures["latency_ms"]
    assert (latency["average"], latency["p50"], latency["p95"], latency["p99"]) == pytest.approx((5.88053, 5.87108, 6.05676, 61.9517))
    assert latency["n"] == 1000
    assert figures["peak_rss_mb"] == pytest.approx(150.844, abs=1e-3)
    assert (
        output.perf_test(PERF_TEST.replace(": 12 ms", ": 0 ms"))["first_inference_ms"]["unavailable"] == "less than the tool's millisecond"
    )


def test_an_old_perf_test_is_read():
    figures = output.perf_test(PERF_TEST_OLD)
    latency = figures["latency_ms"]
    assert (latency["average"], latency["p50"], latency["p99"], latency["n"]) == pytest.approx((58.8053, 58.7108, 61.9517, 1000))
    assert figures["load_ms"]["cold"]["value"] is None
    assert figures["peak_rss_mb"]["value"] is None


def test_executor_runner_is_read_run_by_run():
    figures = output.executor_runner(EXECUTOR_RUNNER)
    assert figures["load_ms"]["cold"] == pytest.approx(4.25)
    assert figures["first_inference_ms"] == pytest.approx(20)
    # The first run is no sample: 2.01 to 2.30 ms are left.
    assert figures["latency_ms"]["p50"] == pytest.approx(2.155)
    assert figures["latency_ms"]["average"] == pytest.approx(2.155)
    assert figures["latency_ms"]["n"] == 30
    assert figures["peak_rss_mb"]["value"] is None


def test_an_old_executor_runner_gives_an_average_with_its_first_run():
    figures = output.executor_runner(
        "I 00:00:00.01 executorch:executor_runner.cpp:298] Model executed successfully 4 time(s) in 10.000000 ms."
    )
    assert figures["latency_ms"]["average"] == pytest.approx(2.5)
    assert figures["latency_ms"]["n"] == 4
    assert figures["latency_ms"]["p50"]["value"] is None
    assert "the first among them" in figures["first_inference_ms"]["unavailable"]


def test_an_llm_runner_is_read():
    figures = output.llm_runner(f"warmup {LLM.replace('96', '5')}\nThe answer is{LLM}\nI 00:00 more")
    assert figures["load_ms"]["cold"] == 2500
    llm = figures["llm"]
    assert (llm["prompt_tokens"], llm["generated_tokens"], llm["time_to_first_token_ms"]) == (31, 96, 250)
    assert llm["prompt_tokens_per_s"] == pytest.approx(100)
    assert llm["decode_tokens_per_s"] == pytest.approx(95 / 4.75)
    assert figures["latency_ms"]["p50"]["value"] is None
    one = output.llm_runner(LLM.replace(":96", ":1"))["llm"]
    assert one["decode_tokens_per_s"] == {"value": None, "unavailable": "0 tokens in 4750 ms give no rate"}


@pytest.mark.parametrize(
    ("binary", "kind"),
    [
        ("/data/local/tmp/android_aarch64_benchmark_model", "benchmark_model"),
        ("/opt/linux_aarch64_benchmark_model_plus_flex", "benchmark_model"),
        ("/opt/benchmark_litert_model", "benchmark_litert_model"),
        ("/opt/onnxruntime_perf_test", "onnxruntime_perf_test"),
        ("/opt/xnn_executor_runner", "executor_runner"),
        ("/opt/llama_main", "llm_runner"),
    ],
)
def test_a_kind_is_known_by_the_name(binary, kind):
    assert binaries.kind_of(binary) == kind


def test_a_kind_that_no_name_tells_is_asked_for():
    assert binaries.kind_of("/opt/mine", "executor_runner") == "executor_runner"
    with pytest.raises(
        UserError,
        match=r"/opt/mine does not have the name of a known runner: .* --runner-kind, one of benchmark_litert_model,",
    ):
        binaries.kind_of("/opt/mine")
    with pytest.raises(UserError, match="unknown kind of runner 'mine'"):
        binaries.kind_of("/opt/mine", "mine")
    with pytest.raises(UserError, match=r"executor_runner runs \.pte files, found net\.onnx"):
        binaries.check("executor_runner", "/data/net.onnx")


@pytest.fixture
def tool(tmp_path):
    """Make a program that prints `text`, to stderr as loggers do, and ends with `code`; its arguments go into a file beside it."""

    def make(name, text, code=0):
        folder = tmp_path / "its folder"
        folder.mkdir(exist_ok=True)
        (folder / "text").write_text(text)
        (folder / name).write_text(f'#!/bin/sh\ncd "${{0%/*}}"\nprintf "%s\\n" "$@" > arguments\nsleep 0.3\ncat text >&2\nexit {code}\n')
        return folder / name

    return make


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Measure a model with a program on this machine, in a project folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def run(binary, model, **options):
        (tmp_path / model).write_bytes(b"a model")
        measured = bench_with(str(binary), tmp_path / model, "local", Protocol(preset="quick", threads=2), **options)
        return measured.model_dump(mode="json")

    return run


def test_a_program_is_driven_and_judged_like_a_runtime(tool, bench):
    binary = tool("onnxruntime_perf_test", PERF_TEST)
    found = bench(binary, "my net.onnx", extra=["-Z"])
    assert found["latency_ms"]["p50"] == pytest.approx(5.87108)
    assert found["peak_rss_mb"] == pytest.approx(150.844, abs=1e-3)
    assert found["program"]["kind"] == "onnxruntime_perf_test"
    assert found["program"]["sha256"] == hashlib.sha256(binary.read_bytes()).hexdigest()
    assert found["artifact"]["sha256"] == hashlib.sha256(b"a model").hexdigest()
    assert found["validity"] in ("valid", "noisy", "throttled", "invalid")
    assert found["sensors"]
    assert "cannot be verified" in found["outputs"]["unavailable"]
    assert found["intervals_ms"]["value"] is None
    assert found["command"][0] == str(binary)
    assert (binary.parent / "arguments").read_text().splitlines() == found["command"][1:]
    model = str(binary.parent.parent / "my net.onnx")
    settings = "session.qdq_matmulnbits_accuracy_level|1 session.x64quantprecision|1"
    own = ["-e", "cpu", "-x", "2", "-y", "1", "-m", "duration", "-t", "1", "-I", "-s", "-C", settings]
    assert found["command"][1:] == [*own, model, "-Z"]


def test_executor_runner_is_probed_for_its_number_of_runs_and_its_memory_is_watched(tool, bench):
    binary = tool("executor_runner", EXECUTOR_RUNNER)
    found = bench(binary, "net.pte")
    # Half a second of 2.155 ms each.
    assert found["command"][2:] == ["--cpu_threads=2", "--num_executions=233"]
    assert 0.1 < found["peak_rss_mb"] < 100
    assert "VmHWM" in found["peak_rss_source"]


def test_a_program_that_fails_or_says_something_else_is_invalid(tool, bench):
    binary = tool("benchmark_model", "ERROR: Failed to load model\n", 3)
    found = bench(binary, "net.tflite")
    assert found["validity"] == "invalid"
    assert "benchmark_model ended with exit status 3: ERROR: Failed to load model" in found["reasons"][0]
    tool("benchmark_model", "INFO: STARTING!\n")
    reason = bench(binary, "net.tflite")["reasons"][0]
    assert (
        "did not report what benchmark_model does: no line 'Inference timings in us' with a number; its last line is: INFO: STAR" in reason
    )


def test_a_program_for_another_machine_is_refused(tmp_path, bench):
    data = bytearray(Path(sys.executable).resolve().read_bytes()[:64])
    # e_machine of 64-bit PowerPC.
    data[18:20] = struct.pack("<H", 21)
    data[56:58] = bytes(2)
    (tmp_path / "executor_runner").write_bytes(data)
    with pytest.raises(UserError, match="executor_runner is a program for 21, and local is "):
        bench(tmp_path / "executor_runner", "net.pte")
    with pytest.raises(UserError, match=r"executor_runner runs \.pte files, found net\.onnx"):
        bench(tmp_path / "executor_runner", "net.onnx")


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_libraries_beside_a_program_go_with_it_under_their_names(tmp_path):
    beside, sent = tmp_path / "built", tmp_path / "sent"
    for folder in (beside, sent):
        folder.mkdir()
    for name, code in {"deep": "int deep() { return 5; }", "near": "int deep(); int near() { return deep(); }"}.items():
        (tmp_path / f"{name}.c").write_text(code)
        needs = ["-L", str(beside), "-ldeep"] if name == "near" else []
        subprocess.run(["cc", "-shared", "-fPIC", "-o", beside / f"lib{name}.so", tmp_path / f"{name}.c", *needs], check=True)
    (tmp_path / "main.c").write_text('#include <stdio.h>\nint near();\nint main(int n, char **v) { printf("%d %s", near(), v[1]); }')
    link = ["-L", beside, "-lnear", f"-Wl,-rpath-link,{beside}"]
    subprocess.run(["cc", "-o", beside / "main", tmp_path / "main.c", *link], check=True)
    libraries = own_runner._libraries(beside / "main")
    assert libraries == {name: beside / name for name in ("libnear.so", "libdeep.so")}
    # On a device, files have the names of their hashes and no bit that says that they can be run.
    there = {}
    for number, (name, library) in enumerate(libraries.items()):
        there[name] = {"artifact": shutil.copyfile(library, sent / f"{number}.so")}
    shutil.copyfile(beside / "main", sent / "program")
    job = {
        "artifact": "/model",
        "program": {"binary": {"artifact": str(sent / "program")}, "arguments": ["--m={model}"], "libraries": there},
    }
    records = []
    program.run(job, SimpleNamespace(write=lambda kind, **fields: records.append((kind, fields))))
    assert [(kind, fields["text"]) for kind, fields in records] == [("program", "5 --m=/model")]
    assert sorted(path.name for path in sent.iterdir()) == ["0.so", "1.so", "program"]


def test_lines_of_the_first_run_may_be_lost():
    lost = "\n".join(line for line in EXECUTOR_RUNNER.splitlines() if "Iteration 1 of" not in line and "Iteration 2 of" not in line)
    figures = output.executor_runner(lost)
    assert figures["first_inference_ms"] == {"value": None, "unavailable": "the line of the first run was lost"}
    assert figures["latency_ms"]["n"] == 29


def test_an_average_is_shown_as_one(tool, bench, capsys):
    found = bench(tool("benchmark_model", BENCHMARK_MODEL.format(newer="")), "net.tflite")
    show(DeviceBench(device="local", status="ok", measurements=[found]))
    assert "average 13.520" in " ".join(capsys.readouterr().out.split())
