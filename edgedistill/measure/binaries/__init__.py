"""A user's own benchmark program on a device (`--runner PATH`): which one it is, how it is called, and its figures.

Options are those of benchmark_model.cc of TensorFlow and LiteRT, command_args_parser.cc of ONNX Runtime's perftest, and executor_runner.cpp
and examples/models/llama/main.cpp of ExecuTorch.
"""

import math
import posixpath
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.binaries import output
from edgedistill.measure.binaries.output import Figures
from edgedistill.measure.devices.base import Device

_PROBE_RUNS, _LEAST_RUNS, _MOST_RUNS = 10, 20, 20_000


@dataclass(frozen=True)
class Tool:
    """A program that is known: the names it goes by, the files it takes, its arguments, and the reader of its output."""

    names: str
    suffixes: tuple[str, ...]
    arguments: Callable[[str, int, float, int], list[str]]
    parse: Callable[[str], Figures]


def kind_of(binary: str, kind: str | None = None) -> str:
    """Which tool `binary` is, by `kind` if given, else by its name. Raises UserError when neither tells."""
    if kind is not None:
        if kind not in TOOLS:
            raise UserError(f"unknown kind of runner {kind!r}: expected one of {', '.join(TOOLS)}")
        return kind
    name = posixpath.basename(binary).lower()
    found = next((tool for tool, known in TOOLS.items() if re.search(known.names, name)), None)
    if found is None:
        raise UserError(f"{binary} has the name of no runner that is known: say which of {', '.join(TOOLS)} it is")
    return found


def check(kind: str, model: str) -> None:
    """Raises UserError when a tool of `kind` does not take the file `model`."""
    if not model.endswith(TOOLS[kind].suffixes):
        raise UserError(f"{kind} runs {' and '.join(TOOLS[kind].suffixes)} files, found {posixpath.basename(model)}")


def drive(
    device: Device, kind: str, binary: str, model: str, *, threads: int, seconds: float, extra: Sequence[str] = (), timeout_s: float
) -> tuple[Figures, list[str], str]:
    """Run `binary` on `model`, both absolute paths on `device`, and return its figures, its command line and all that it printed.

    extra: more arguments, such as an LLM's --tokenizer_path. Figures are those of a measurement document: load_ms, first_inference_ms,
    latency_ms (p50, p95, p99 where the tool gives them, average, n), peak_rss_mb, peak_rss_source, and `llm` for a language model.
    Raises DeviceFailed when the program fails or does not print its result, LinkLost with the link.
    """
    check(kind, model)
    tool = TOOLS[kind]

    def run(runs: int) -> tuple[Figures, list[str], str]:
        command = [binary, *tool.arguments(model, threads, seconds, runs), *extra]
        # Libraries of the program lie beside it.
        folder = shlex.quote(posixpath.dirname(binary) or ".")
        script = f"cd {folder} && LD_LIBRARY_PATH={folder}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}} {shlex.join(command)} 2>&1"
        reply = device.sh(script, timeout_s=timeout_s)
        if reply.code != 0:
            raise DeviceFailed(f"{binary} ended with exit status {reply.code}{_last_line(reply.out or reply.err)}")
        try:
            return tool.parse(reply.out), command, reply.out
        except DeviceFailed as failure:
            raise DeviceFailed(f"{binary} did not report what a {kind} does: {failure}{_last_line(reply.out)}") from failure

    if kind != "executor_runner":
        return run(_LEAST_RUNS)
    # It counts runs and no seconds, and prints a line for each.
    figures, _, _ = run(_PROBE_RUNS)
    return run(min(max(_LEAST_RUNS, math.ceil(seconds * 1e3 / max(figures["latency_ms"]["average"], 1e-3))), _MOST_RUNS))


def _last_line(text: str) -> str:
    line = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
    return f" (last line: {line[-300:]})" if line else " (it printed nothing)"


TOOLS = {
    "benchmark_litert_model": Tool(
        r"benchmark_litert",
        (".tflite",),
        lambda model, threads, seconds, runs: [
            f"--graph={model}",
            f"--num_threads={threads}",
            f"--num_runs={runs}",
            f"--min_secs={seconds:g}",
        ],
        output.benchmark_litert_model,
    ),
    "benchmark_model": Tool(
        r"benchmark_model|benchmark_.*tflite",
        (".tflite",),
        lambda model, threads, seconds, runs: [
            f"--graph={model}",
            f"--num_threads={threads}",
            f"--num_runs={runs}",
            f"--min_secs={seconds:g}",
            "--use_xnnpack=true",
        ],
        output.benchmark_model,
    ),
    "onnxruntime_perf_test": Tool(
        r"perf_test|perftest",
        (".onnx", ".ort"),
        # Whole seconds; -I makes inputs, -s prints percentiles.
        lambda model, threads, seconds, runs: (
            ["-e", "cpu", "-x", str(threads), "-y", "1", "-m", "duration", "-t", str(max(1, math.ceil(seconds))), "-I", "-s", model]
        ),
        output.perf_test,
    ),
    "executor_runner": Tool(
        r"executor_runner",
        (".pte",),
        lambda model, threads, seconds, runs: [f"--model_path={model}", f"--cpu_threads={threads}", f"--num_executions={runs}"],
        output.executor_runner,
    ),
    "llm_runner": Tool(
        r"llama|llm",
        (".pte",),
        lambda model, threads, seconds, runs: [f"--model_path={model}", f"--cpu_threads={threads}"],
        output.llm_runner,
    ),
}
