"""Reads the output of benchmark programs into figures of a measurement.

It searches for lines and never counts them, since builds differ in prefixes, order and additional lines. Sources, read in November 2026:
benchmark_model.cc and stats_calculator.h of TensorFlow and LiteRT; performance_runner.cc and README.md of ONNX Runtime's perftest;
executor_runner.cpp and extension/llm/runner/stats.h of ExecuTorch. Each reader raises DeviceFailed if the text does not contain the result.
"""

import json
import math
import re
from dataclasses import dataclass

from edgedistill.errors import DeviceFailed
from edgedistill.measure.statistics import latency_ms
from edgedistill.records import Latency, Load, Unavailable
from edgedistill.records.measurements import TokenRates

_NUMBER = r"([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf))"
_ONCE = Unavailable(unavailable="the tool loads the model once")


@dataclass(frozen=True)
class Figures:
    """What a program printed, in milliseconds and MiB."""

    load_ms: Load
    first_inference_ms: float | Unavailable
    latency_ms: Latency
    peak_rss_mb: float | Unavailable
    peak_rss_source: str
    llm: TokenRates | None = None


def _find(pattern: str, text: str) -> float | None:
    """The number in the last match of `pattern`, or None if there is none or it is not finite."""
    numbers = re.findall(pattern.replace("#", _NUMBER), text)
    value = float(numbers[-1]) if numbers else math.nan
    return value if math.isfinite(value) else None


def _needed(pattern: str, text: str, line: str) -> float:
    value = _find(pattern, text)
    if value is None:
        raise DeviceFailed(f"no line {line!r} with a number")
    return value


def _scaled(value: float | None, factor: float, why: str) -> float | Unavailable:
    return Unavailable(unavailable=why) if value is None else value * factor


def benchmark_model(text: str) -> Figures:
    """TensorFlow Lite's and LiteRT's benchmark_model, in microseconds and MiB."""
    line = "Inference timings in us"
    average = _needed(rf"{line}: .*Inference \(avg\): #", text, line)
    load = _scaled(_find(rf"{line}: .*Init: #", text), 1e-3, "benchmark_model printed no time of its initialization")
    first = _scaled(_find(rf"{line}: .*First inference: #", text), 1e-3, "benchmark_model printed no first inference")
    overall = _find(r"Memory footprint delta from the start of the tool \(MB\): .*overall=#", text)
    return Figures(Load(cold=load, warm=_ONCE), first, _series(text, average / 1e3), _footprint(overall), _FOOTPRINT)


def benchmark_litert_model(text: str) -> Figures:
    """LiteRT's benchmark_litert_model: a table in milliseconds and MiB after the series of benchmark_model."""
    average = _needed(r"Inference \(avg\): +# ms", text, "Inference (avg)")
    load = _scaled(_find(r"Model initialization: +# ms", text), 1, "benchmark_litert_model printed no time of its initialization")
    first = _scaled(_find(r"Warmup \(first\): +# ms", text), 1, "benchmark_litert_model printed no first inference")
    overall = _find(r"Overall footprint: +# MB", text)
    return Figures(Load(cold=load, warm=_ONCE), first, _series(text, average), _footprint(overall), _FOOTPRINT)


def _series(text: str, average_ms: float) -> Latency:
    """Latencies of the timed runs, from the summary line of both tools, in microseconds."""
    # Each series begins with this sentence, and the last series is the timed one. Profiles print similar lines elsewhere.
    series = text.split("Running benchmark for at least ")[1:]
    stat = re.search(r"\bcount=\d+\b.*", series[-1]) if series else None
    values = {name: float(value) for name, value in re.findall(rf"(\w+)={_NUMBER}", stat[0])} if stat else {}
    if values.get("count") == 0:
        raise DeviceFailed("it ran no inference (count=0)")
    if "avg" not in values and "curr" in values:
        # All durations are equal, so the tool prints only one.
        values |= dict.fromkeys(("median", "p95"), values["curr"])
    why = "this build prints the average only"
    uncounted = Unavailable(unavailable="the tool printed no count of its timed runs")
    return Latency(
        average=average_ms,
        p50=_scaled(values.get("median"), 1e-3, why),
        p95=_scaled(values.get("p95"), 1e-3, why),
        p99=Unavailable(unavailable="the tool prints no 99th percentile"),
        n=int(values["count"]) if "count" in values else uncounted,
    )


_FOOTPRINT = "growth of the largest resident set since the start of the tool, as the tool prints it"


def _footprint(mb: float | None) -> float | Unavailable:
    return _scaled(mb or None, 1, "the tool printed no growth of its memory")


def perf_test(text: str) -> Figures:
    """ONNX Runtime's onnxruntime_perf_test: seconds for most, milliseconds for some; older builds leave out units and some lines."""
    average = _needed(r"Average (?:inference )?time cost(?: total)?: ?# ms", text, "Average inference time cost")
    count = _find(r"Total (?:inference requests|iterations): ?#", text)
    first = _find(r"First inference time cost: ?# ms", text)
    peak = _find(r"Peak working set size: ?#", text)

    def percentile(name: str) -> float | Unavailable:
        return _scaled(_find(rf"\bP{name} Latency(?: is|:) ?# ?s", text), 1e3, f"onnxruntime_perf_test printed no P{name}")

    load = _find(r"Session creation time cost: ?# s", text)
    uncounted = Unavailable(unavailable="onnxruntime_perf_test printed no number of requests")
    return Figures(
        Load(cold=_scaled(load, 1e3, "this build of onnxruntime_perf_test prints no session creation"), warm=_ONCE),
        # Whole milliseconds: 0 means less than 1.
        _scaled(first or None, 1, "less than the tool's millisecond" if first == 0 else "this build prints no first inference"),
        Latency(
            average=average, p50=percentile("50"), p95=percentile("95"), p99=percentile("99"), n=uncounted if count is None else int(count)
        ),
        _scaled(peak, 2**-20, "onnxruntime_perf_test printed no peak working set size"),
        "peak working set size of the whole process, ONNX Runtime included, as onnxruntime_perf_test prints it",
    )


def executor_runner(text: str) -> Figures:
    """ExecuTorch's executor_runner, in milliseconds. Newer builds print each run, older ones their number and total."""
    line = "Model executed successfully"
    count = _needed(rf"{line} # time\(s\) in", text, line)
    total = _needed(rf"{line} \d+ time\(s\) in # ms", text, line)
    # Android's log may have dropped the oldest lines.
    each = {int(index): float(ms) for index, ms in re.findall(r"Iteration (\d+) of \d+: ([\d.]+) ms", text)}
    if count == 0:
        raise DeviceFailed("it ran no inference")
    first: float | Unavailable
    if len(each) > 1:
        # There is no warm-up, so the first run is reported separately and is not a sample.
        first = each.pop(1, None) or Unavailable(unavailable="the line of the first run was lost")
        timed = list(each.values())
        latency = latency_ms([round(ms * 1e6) for ms in timed]).model_copy(update={"average": sum(timed) / len(timed)})
    else:
        first = total_only = Unavailable(
            unavailable="this build of executor_runner prints the total of its runs only, the first among them"
        )
        latency = Latency(average=total / count, p50=total_only, p95=total_only, p99=total_only, n=int(count))
    load = _scaled(_find(r"Model loaded in # ms", text), 1, "this build of executor_runner prints no load time")
    unknown = Unavailable(unavailable="executor_runner prints no memory")
    return Figures(Load(cold=load, warm=_ONCE), first, latency, unknown, unknown.unavailable)


def llm_runner(text: str) -> Figures:
    """ExecuTorch's LLM runners: one line of JSON with time stamps in milliseconds.

    Prompt tokens per second are prompt_tokens over the time from the start of inference, which includes the tokenizer, to the end of the
    prompt's evaluation. Decoded tokens per second leave out the first generated token, which the time to the first token has.
    """
    reports = re.findall(r"PyTorchObserver (\{.*?\})", text)
    if not reports:
        raise DeviceFailed("no line 'PyTorchObserver {...}'")
    try:
        stamps = {name: float(value) for name, value in json.loads(reports[-1]).items()}
        start, end, first = stamps["inference_start_ms"], stamps["inference_end_ms"], stamps["first_token_ms"]
        prompt, generated = int(stamps["prompt_tokens"]), int(stamps["generated_tokens"])
    except (ValueError, TypeError, KeyError) as error:
        raise DeviceFailed(f"its PyTorchObserver line lacks or garbles {error}") from error
    if generated < 1 or first <= 0:
        raise DeviceFailed("it generated no token")
    load = stamps.get("model_load_end_ms", 0) - stamps.get("model_load_start_ms", 0)
    tokens = Unavailable(unavailable="an LLM runner times tokens, which stand in `llm`")
    unknown = Unavailable(unavailable="the runner prints no memory")
    return Figures(
        Load(cold=load if load > 0 else Unavailable(unavailable="the runner printed no load time of a millisecond or more"), warm=_ONCE),
        tokens,
        Latency(p50=tokens, p95=tokens, p99=tokens, n=generated),
        unknown,
        unknown.unavailable,
        TokenRates(
            prompt_tokens=prompt,
            generated_tokens=generated,
            time_to_first_token_ms=first - start,
            prompt_tokens_per_s=_rate(prompt, stamps.get("prompt_eval_end_ms", 0) - start),
            decode_tokens_per_s=_rate(generated - 1, end - first),
        ),
    )


def _rate(tokens: int, ms: float) -> float | Unavailable:
    if tokens < 1 or ms <= 0:
        return Unavailable(unavailable=f"{tokens} tokens in {ms:g} ms give no rate")
    return tokens / ms * 1e3
