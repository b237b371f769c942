"""Benchmark programs of the user (`--runner PATH`): identifies the program, builds its arguments, and reads its figures.

Options are those of benchmark_model.cc of TensorFlow and LiteRT, command_args_parser.cc of ONNX Runtime's perftest, and executor_runner.cpp
and examples/models/llama/main.cpp of ExecuTorch.
"""

import math
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.measure.binaries import output
from edgedistill.measure.binaries.output import Figures
from edgedistill.measure.runner.program import MODEL

_PROBE_RUNS, _MIN_RUNS, _MAX_RUNS = 10, 20, 5_000

Rest = TypeVar("Rest")
Run = Callable[[list[str]], tuple[str, Rest]]


@dataclass(frozen=True)
class Tool:
    """A known program: a pattern of its names, the suffixes of its files, its arguments, and the reader of its output."""

    names: str
    suffixes: tuple[str, ...]
    arguments: Callable[[str, int, float, int], list[str]]
    parse: Callable[[str], Figures]


def kind_of(binary: str, kind: str | None = None) -> str:
    """The kind of the tool `binary`: `kind` if given, else from its name. Raises UserError if the kind is unknown."""
    if kind is not None:
        if kind not in TOOLS:
            raise UserError(f"unknown kind of runner {kind!r}: expected one of {', '.join(TOOLS)}")
        return kind
    name = posixpath.basename(binary).lower()
    match = next((tool for tool, known in TOOLS.items() if re.search(known.names, name)), None)
    if match is None:
        raise UserError(f"{binary} does not have the name of a known runner: give its kind by --runner-kind, one of {', '.join(TOOLS)}")
    return match


def check(kind: str, model: str) -> None:
    """Raises UserError if a tool of `kind` does not take the file `model`."""
    if not model.endswith(TOOLS[kind].suffixes):
        raise UserError(f"{kind} runs {' and '.join(TOOLS[kind].suffixes)} files, found {posixpath.basename(model)}")


def drive(kind: str, run: Run[Rest], *, threads: int, seconds: float, extra: Sequence[str] = ()) -> tuple[Figures, Rest]:
    """Let `run` execute a tool of `kind`, and return its figures and the second result of `run`.

    run: takes the tool's arguments, with `runner.program.MODEL` for the model's path, and returns (what it printed, anything). extra: more
    arguments, such as an LLM's --tokenizer_path. Raises DeviceFailed if the tool does not print its result.
    """
    tool = TOOLS[kind]

    def once(runs: int) -> tuple[Figures, Rest]:
        text, rest = run([*tool.arguments(MODEL, threads, seconds, runs), *extra])
        try:
            return tool.parse(text), rest
        except DeviceFailed as failure:
            last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
            ending = f"its last line is: {last[-300:]}" if last else "it printed nothing"
            raise DeviceFailed(f"the program did not report what {kind} does: {failure}; {ending}") from failure

    if kind != "executor_runner":
        return once(_MIN_RUNS)
    # It takes a number of runs instead of a time, and prints a line for each.
    figures, _ = once(_PROBE_RUNS)
    average_ms = figures.latency_ms.average
    assert isinstance(average_ms, float)
    return once(min(max(_MIN_RUNS, math.ceil(seconds * 1e3 / max(average_ms, 1e-3))), _MAX_RUNS))


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
        # Whole seconds; -I makes inputs, -s prints percentiles, -C has the settings of the adapter's sessions.
        lambda model, threads, seconds, runs: [
            *("-e", "cpu", "-x", str(threads), "-y", "1", "-m", "duration", "-t", str(max(1, math.ceil(seconds))), "-I", "-s"),
            *("-C", "session.qdq_matmulnbits_accuracy_level|1 session.x64quantprecision|1", model),
        ],
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
