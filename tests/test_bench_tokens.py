"""Generation by files that keep a state: what is asked for, which calls the runner makes, and what becomes of its records."""

import dataclasses
import itertools
import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from made_documents import bench, made_measurement
from onnx import TensorProto, helper, numpy_helper
from test_report import Page
from test_schemas import schema_of

from edgedistill.cli import harness as command
from edgedistill.errors import UserError
from edgedistill.measure import document, harness, job, store
from edgedistill.measure.generation import NO_STATE, Asked, Stateful, asked, read_from, stateful
from edgedistill.measure.generation_figures import doubts, figures
from edgedistill.measure.harness import Protocol
from edgedistill.measure.records import Execution
from edgedistill.measure.runner import generation
from edgedistill.measure.runner.records import Recorder
from edgedistill.measure.runner.samples import Samples
from edgedistill.measure.tabular import COLUMNS, row
from edgedistill.records import Load, Unavailable
from edgedistill.records.generation import CallTimes, Generation
from edgedistill.records.measurements import Measurement, Setup
from edgedistill.records.stored import DeviceBench
from edgedistill.report.devices import render_devices
from edgedistill.signature import Signature, TensorSpec
from edgedistill.steps import flow

PHONE = "adb:0A1B2C"
VOCABULARY, CONTEXT = 7, 64
PORTS = Signature.of(
    [
        TensorSpec(name="positions", dtype="int32", shape=(1, "tokens")),
        TensorSpec(name="asked", dtype="int32", shape=(1, "wanted")),
        TensorSpec(name="ids", dtype="int32", shape=(1, "tokens"), meaning="tokens"),
    ],
    [TensorSpec(name="next", shape=(1, "wanted", VOCABULARY))],
    state=(TensorSpec(name="kept", shape=(1, 1, CONTEXT, 3)),),
    limits={"tokens": CONTEXT, "wanted": CONTEXT},
)
FILE = Stateful("ids", "positions", "asked", "next", CONTEXT, CONTEXT * 3 * 4)
ONE: Any = {"warmup_s": 0.01, "relative_width": 10.0, "max_s": 0.01, "min_samples": 1}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # The lock of this machine's own sessions is none of the tests'.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def successor(path: Path, *, broken: bool = False) -> Path:
    """An .onnx with a state: the likeliest token behind one is the next number, whatever came before."""

    def port(name: str, kind: int, *shape: Any) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    table = np.roll(np.eye(VOCABULARY, dtype=np.float32), 1, axis=1) * (np.nan if broken else 1)
    nodes = [
        helper.make_node("Gather", ["input_ids", "wanted"], ["chosen"], axis=1),
        helper.make_node("Squeeze", ["chosen", "front"], ["last"]),
        helper.make_node("Gather", ["table", "last"], ["row"]),
        helper.make_node("Add", ["kept", "one"], ["kept_next"]),
        helper.make_node("ReduceMin", ["positions"], ["least"], keepdims=0),
        helper.make_node("Cast", ["least"], ["from"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["row", "from"], ["logits"]),
    ]  # fmt: skip
    kept, constants = (1, 1, CONTEXT, 3), {"table": table, "one": np.ones((), np.float32), "front": np.zeros(1, np.int64)}
    graph = helper.make_graph(
        nodes, "g",
        [
            *(port(name, TensorProto.INT32, 1, size) for name, size in (("input_ids", "T"), ("positions", "T"), ("wanted", "W"))),
            port("kept", TensorProto.FLOAT, *kept),
        ],
        [port("logits", TensorProto.FLOAT, 1, "W", VOCABULARY), port("kept_next", TensorProto.FLOAT, *kept)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


class Collector(Recorder):
    """Keeps the records."""

    def __init__(self) -> None:
        self.records = list[Any]()

    def write(self, record_type: str, /, **fields: Any) -> None:
        self.records.append({"type": record_type, **fields})


class Called:
    """A forward function that notes what it is given and answers with the next number."""

    def __init__(self) -> None:
        self.calls = list[tuple[list[int], list[int]]]()

    def __call__(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert set(arrays) == {"ids", "positions", "asked"}
        assert arrays["asked"].tolist() == [[arrays["ids"].shape[1] - 1]], "only the last token is wanted"
        assert {array.dtype for array in arrays.values()} == {np.dtype("int32")}
        self.calls.append((arrays["ids"][0].tolist(), arrays["positions"][0].tolist()))
        answer = np.zeros((1, 1, VOCABULARY), np.float32)
        answer[0, -1, (arrays["ids"][0, -1] + 1) % VOCABULARY] = 1
        return {"next": answer}


def samples(folder: Path, rows: list[list[int]]) -> Samples:
    np.save(folder / "ids.npy", np.array(rows, np.int32))
    np.save(folder / "positions.npy", np.broadcast_to(np.arange(len(rows[0]), dtype=np.int32), (len(rows), len(rows[0]))))
    np.save(folder / "asked.npy", np.zeros((len(rows), 1), np.int32))
    paths = {name: str(folder / f"{name}.npy") for name in ("ids", "positions", "asked")}
    return Samples(paths, job.described_method(PORTS.forward.with_sizes({"tokens": len(rows[0]), "wanted": 1}))["inputs"])


def test_a_sequence_is_the_prompt_at_once_and_then_the_likeliest_tokens_one_by_one(tmp_path: Path) -> None:
    forward, collector = Called(), Collector()
    given = samples(tmp_path, [[0, 1, 2], [3, 4, 5]])
    generation.bench(forward, given, Asked(FILE, (5, 2), 4).settings, ONE, 2**20, collector)
    # The shorter prompt first; its tokens are those of the samples.
    assert forward.calls[:4] == [([0, 1], [0, 1]), ([2], [2]), ([3], [3]), ([4], [4])]
    longer = next(index for index, call in enumerate(forward.calls) if len(call[0]) == 5)
    assert forward.calls[longer : longer + 4] == [([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]), ([5], [5]), ([6], [6]), ([0], [7])]
    # The warm-up: calls behind the prompt, at the positions of a sequence.
    assert {tuple(call[1]) for call in forward.calls[8:longer]} <= {(0, 1), (2,), (3,), (4,)}
    kinds = [record["type"] for record in collector.records if record["prompt"] == 5]
    assert kinds[:3] == ["generation_memory", "generation_warmup", "generated"]
    sequences = [one for record in collector.records if record["type"] == "generated" for one in record["durations_ns"]]
    assert {len(one) for one in sequences} == {4}
    starts = [t0 for record in collector.records if record["type"] == "generated" for t0 in record["t0_ns"]]
    assert len(starts) == len(sequences)
    # Of each prompt as many as an interval of the median needs, although the time was up.
    assert all(starts[i] + sum(sequences[i]) <= starts[i + 1] for i in range(len(starts) - 1))
    assert min(sum(len(r["t0_ns"]) for r in collector.records if r["type"] == "generated" and r["prompt"] == p) for p in (2, 5)) >= 6


def test_a_prompt_in_pieces_is_one_duration(tmp_path: Path) -> None:
    forward, collector = Called(), Collector()
    pieced = dataclasses.replace(FILE, piece=2)
    generation.bench(forward, samples(tmp_path, [[0, 1, 2, 3, 4]]), Asked(pieced, (5,), 2).settings, ONE, 2**20, collector)
    assert forward.calls[:4] == [([0, 1], [0, 1]), ([2, 3], [2, 3]), ([4], [4]), ([5], [5])]
    sequences = [one for record in collector.records if record["type"] == "generated" for one in record["durations_ns"]]
    assert {len(one) for one in sequences} == {2}


def test_one_new_token_takes_no_further_call(tmp_path: Path) -> None:
    forward, collector = Called(), Collector()
    generation.bench(forward, samples(tmp_path, [[1, 2, 3]]), Asked(FILE, (3,), 1).settings, ONE, None, collector)
    assert {len(ids) for ids, _ in forward.calls} == {3}
    found = figures(collector.records, Asked(FILE, (3,), 1))
    assert isinstance(found, Generation)
    assert isinstance(found.by_prompt[0].next_token, Unavailable)
    assert isinstance(found.by_prompt[0].decode_tokens_per_s, Unavailable)


def test_as_many_sequences_are_taken_as_an_interval_needs_although_the_time_is_up(tmp_path: Path) -> None:
    def slow(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        time.sleep(0.03)
        return {"next": np.zeros((1, 1, VOCABULARY), np.float32)}

    collector = Collector()
    generation.bench(slow, samples(tmp_path, [[1, 2]]), Asked(FILE, (2,), 2).settings, ONE, 0, collector)
    assert 6 <= sum(len(record["t0_ns"]) for record in collector.records if record["type"] == "generated") <= 7


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (np.full((1, 1, VOCABULARY), np.nan, np.float32), "output next at position 0: some values are NaN"),
        (np.zeros((1, 3, VOCABULARY), np.float32), r"expected \[1,1,V\] for the last token, found float32\[1,3,7\]"),
    ],
)
def test_answers_that_are_none_end_the_run(tmp_path: Path, answer: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        generation.bench(lambda _: {"next": answer}, samples(tmp_path, [[1, 2, 3]]), Asked(FILE, (3,), 2).settings, ONE, 0, Collector())


@pytest.mark.parametrize("of_prompt", [True, False], ids=["first", "further"])
def test_sampling_goes_on_until_both_medians_are_known(tmp_path: Path, of_prompt: bool) -> None:
    clock = itertools.count()

    def uneven(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # One kind of calls takes 1 or 9 ms, which no number of them settles; the other always the same.
        changes = (arrays["ids"].shape[1] > 1) == of_prompt
        until = generation.perf_counter_ns() + (1 + 8 * (next(clock) % 2) if changes else 1) * 1_000_000
        while generation.perf_counter_ns() < until:
            pass
        return {"next": np.zeros((1, 1, VOCABULARY), np.float32)}

    settings: Any = ONE | {"relative_width": 0.3, "max_s": 1.5}
    collector = Collector()
    generation.bench(uneven, samples(tmp_path, [[1, 2]]), Asked(FILE, (2,), 2).settings, settings, 0, collector)
    batches = [record for record in collector.records if record["type"] == "generated"]
    assert (batches[-1]["t0_ns"][-1] - batches[0]["t0_ns"][0]) / 1e9 > 1.3


@pytest.mark.parametrize(
    ("context", "prompts", "new", "expected"),
    [
        (256, None, None, ((32, 128), 32)),
        (64, None, None, ((32,), 32)),
        (48, None, None, ((24,), 24)),
        (1, None, None, ((1,), 1)),
        (None, None, None, ((32,), 32)),
        (256, None, 200, ((32,), 200)),
        (256, [192, 8, 8], 65, ((8, 192), 65)),
    ],
)
def test_usual_prompts_fit_and_others_are_taken_as_they_are(context: Any, prompts: Any, new: Any, expected: Any) -> None:
    found = asked(Stateful("ids", "positions", "asked", "next", context, 5), prompts, new)
    assert isinstance(found, Asked)
    assert (found.prompts, found.new) == expected


@pytest.mark.parametrize(("prompts", "new"), [([192], 66), ([8, 300], None), (None, 257)])
def test_what_does_not_fit_is_refused_before_anything_is_measured(prompts: Any, new: Any) -> None:
    with pytest.raises(UserError, match=r"--prompt-tokens, --new-tokens: found .*, and the file takes 256 tokens; expected prompt \+ new"):
        asked(Stateful("ids", "positions", "asked", "next", 256, 5), prompts, new)


def test_how_a_file_is_called_follows_from_its_signature() -> None:
    assert stateful(PORTS) == FILE
    assert stateful(PORTS, piece=32) == dataclasses.replace(FILE, piece=32)
    assert stateful(Signature.of(PORTS.inputs, PORTS.outputs)) == NO_STATE
    mask = TensorSpec(name="mask", dtype="bool", shape=(1, "tokens"))
    other = stateful(Signature.of([*PORTS.inputs, mask], PORTS.outputs, state=PORTS.state))
    assert isinstance(other, Unavailable)
    assert "takes positions=int32[1,tokens], asked=int32[1,wanted], ids=int32[1,tokens], mask=bool[1,tokens]" in other.unavailable
    # Of a file alone that keeps its state inside: it may have one, and is asked for.
    plain = [TensorSpec(name=f"input_{place}", dtype="int32", shape=(1, size)) for place, size in enumerate((40, 40, 12))]
    untold = stateful(Signature.of(plain, [TensorSpec(name="output_0", shape=(1, 12, 9))]), told=False)
    assert untold == Stateful("input_0", "input_1", "input_2", "output_0", 40, None)
    found = asked(untold, None, None)
    assert isinstance(found, Unavailable)
    assert "--prompt-tokens" in found.unavailable
    assert isinstance(asked(untold, [8], None), Asked)
    assert stateful(Signature.of(plain[:1], PORTS.outputs), told=False) == NO_STATE


def test_a_state_outside_is_told_apart_by_its_names() -> None:
    kept, size = PORTS.state[0], TensorSpec(name="size", dtype="int32", shape=(1,))
    after = kept.model_copy(update={"name": "kept_next"})
    whole = Signature.of([*PORTS.inputs, kept, size], [*PORTS.outputs, after, size.model_copy(update={"name": "other_next"})])
    found = read_from(whole)
    assert (found.state, [spec.name for spec in found.inputs]) == ((kept,), ["positions", "asked", "ids", "size"])
    assert ([spec.name for spec in found.outputs], found.limits) == (["next", "other_next"], {"tokens": CONTEXT, "wanted": CONTEXT})
    assert read_from(Signature.of(PORTS.inputs, PORTS.outputs)).state == ()


def sequences(prompt: int, first_ms: float, next_ms: float, count: int = 40, new: int = 5, begin_s: float = 0.0) -> list[dict[str, Any]]:
    """Records of `count` equal sequences, each right behind the other."""
    calls = [round(first_ms * 1e6), *[round(next_ms * 1e6)] * (new - 1)]
    starts = [round(begin_s * 1e9) + number * sum(calls) for number in range(count)]
    memory = {"type": "generation_memory", "prompt": prompt, "rss_runtime_loaded": 2**20, "peak_rss": 5 * 2**20, "source": "VmHWM"}
    warmup = {"type": "generation_warmup", "prompt": prompt, "iterations": 9, "windows": 8, "steady": True, "ns": 1}
    return [memory, warmup, {"type": "generated", "prompt": prompt, "t0_ns": starts, "durations_ns": [calls] * count}]


def test_the_figures_of_known_durations() -> None:
    records: Any = [*sequences(8, 4.0, 2.0), *sequences(16, 10.0, 3.0)]
    found = figures(records, Asked(FILE, (8, 16), 5))
    assert isinstance(found, Generation)
    assert (found.context, found.state_bytes, found.new_tokens) == (CONTEXT, CONTEXT * 12, 5)
    part = found.by_prompt[0]
    assert (part.prompt_tokens, part.steady, part.peak_rss_mb) == (8, True, 4.0)
    assert isinstance(part.next_token, CallTimes)
    medians = [times.latency_ms.p50 for times in (part.first_token, part.next_token, part.last_token)]
    assert medians == pytest.approx([4.0, 2.0, 12.0])
    assert [times.latency_ms.n for times in (part.first_token, part.next_token, part.last_token)] == [40, 160, 40]
    assert (part.prefill_tokens_per_s, part.decode_tokens_per_s) == (pytest.approx(2000), pytest.approx(500))
    assert found.by_prompt[1].first_token.latency_ms.p95 == pytest.approx(10.0)
    assert part.energy == Unavailable(unavailable="no sensor of this device reports power")


def test_the_energy_of_a_token_is_that_of_its_sequence_above_the_idle_power() -> None:
    begin = 20.0
    made: Any = [
        {
            "type": "sensors",
            "interval_s": 0.1,
            "unavailable": [],
            "available": [{"name": "power.ina226", "unit": "W", "source": "ina226 at 0x40"}],
        },
        *({"type": "sensor", "t_ns": round(t * 1e8), "values": {"power.ina226": 1.0 if t < 200 else 4.0}} for t in range(600)),
        {"type": "phase", "name": "idle", "t_ns": 0},
        {"type": "phase", "name": "work", "t_ns": round(begin * 1e9)},
        # 400 sequences of 100 ms, with 5 new tokens each.
        *sequences(8, 20.0, 20.0, count=400, begin_s=begin),
    ]
    found = figures(made, Asked(FILE, (8,), 5))
    assert isinstance(found, Generation)
    spent: Any = found.by_prompt[0].energy
    assert spent.mj_per_token == pytest.approx(3.0 * 20, rel=0.01)
    assert spent.interval[0] <= spent.mj_per_token <= spent.interval[1]
    assert (spent.n, spent.power_w, spent.idle_w) == (2000, pytest.approx(4), pytest.approx(1, rel=0.02))


def test_an_earlier_runner_and_a_file_without_state_have_reasons() -> None:
    earlier: Any = [{"type": "iterations", "t0_ns": 0, "durations_ns": [5]}]
    found = figures(earlier, Asked(FILE, (8,), 5))
    assert isinstance(found, Unavailable)
    assert "earlier version" in found.unavailable
    assert figures(earlier, NO_STATE) == NO_STATE


def test_medians_that_are_not_known_well_enough_are_doubts() -> None:
    steady: Any = sequences(8, 4.0, 2.0)
    assert doubts(steady, 0.01) == []
    steady[1]["steady"] = False
    wild = sequences(16, 4.0, 2.0, count=2)
    wild[2]["durations_ns"] = [[4_000_000, 1_000_000], [9_000_000, 5_000_000]] * 5
    found = doubts([*steady, *wild], 0.01)  # type: ignore[list-item]
    assert {kind for kind, _ in found} == {"noisy"}
    texts = [why for _, why in found]
    assert texts[0] == "not steady: calls behind a prompt of 8 tokens still drifted after the warm-up"
    assert [text.partition(" is known")[0] for text in texts[1:]] == [
        "wide: with a prompt of 16 tokens the median of the first token",
        "wide: with a prompt of 16 tokens the median of a further token",
    ]


def test_doubts_are_reasons_of_the_measurement() -> None:
    wild = sequences(16, 4.0, 2.0)
    wild[1]["steady"] = False
    known = made_measurement("a.onnx")
    done = Execution(
        versions={}, facts=known["facts"], load_ms=Load(cold=1.0, warm=1.0), first_inference_ms=1.0, latency_ms=None,
        median_interval_ms=None, steady=True, peak_rss_mb=1.0, peak_rss_source="", outputs=None, raw_durations_ns=[1000] * 500,
    )  # fmt: skip
    records: Any = wild
    found = document.measurement(
        Setup(**known), Protocol("quick").asked, None, done, records, {}, generation=Asked(FILE, (16,), 5)
    )  # fmt: skip
    assert found.validity == "noisy"
    assert found.reasons == ["not steady: calls behind a prompt of 16 tokens still drifted after the warm-up"]
    assert isinstance(found.generation, Generation)
    assert document.measurement(Setup(**known), Protocol("quick").asked, None, done, [], {}).generation == NO_STATE


def test_a_file_is_measured_by_the_runner_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = successor(tmp_path / "successor.onnx")
    printed = flow.bench_on(path, "local", Protocol("quick", prompts=[3, 20], new_tokens=6))
    jsonschema.validate(printed.model_dump(mode="json"), schema_of("bench-device"))
    (one,) = printed.measurements
    found = one.generation
    assert isinstance(found, Generation)
    assert (found.context, found.state_bytes, found.new_tokens) == (CONTEXT, CONTEXT * 3 * 4, 6)
    assert [part.prompt_tokens for part in found.by_prompt] == [3, 20]
    for part in found.by_prompt:
        assert isinstance(part.next_token, CallTimes)
        counts: Any = [times.latency_ms.n for times in (part.first_token, part.next_token, part.last_token)]
        assert counts[1] == 5 * counts[0] == 5 * counts[2]
        assert isinstance(part.last_token.latency_ms.p50, float)
        assert 0 < part.first_token.latency_ms.p50 < part.last_token.latency_ms.p50 < 1000  # type: ignore[operator]
        assert isinstance(part.peak_rss_mb, float)
    # The samples have positions that ascend from 0: with zeros its answers would be others.
    with harness.of_file(path) as (subject,):
        assert np.load(subject.inputs["positions"])[3].tolist() == list(range(32))
    with store.opened() as measurements:
        kept = measurements.get(one.id or 0)
        raw = measurements.raw(one.id or 0).decode().splitlines()
    assert kept.model_dump(mode="json") == one.model_dump(mode="json") | {"name": None}
    generated = [json.loads(line) for line in raw if '"type": "generated"' in line]
    assert {len(sequence) for batch in generated for sequence in batch["durations_ns"]} == {6}
    values = dict(zip(COLUMNS, row(one.model_dump(mode="json")), strict=True))
    assert (values["prompt_tokens"], values["new_tokens"]) == (20, 6)
    assert values["last_token_p50_ms"] == found.by_prompt[1].last_token.latency_ms.p50


def test_answers_that_are_wrong_make_the_measurement_fail_with_one_reason(tmp_path: Path) -> None:
    path = successor(tmp_path / "broken.onnx", broken=True)
    (one,) = flow.bench_on(path, "local", Protocol("quick")).measurements
    assert one.validity == "invalid"
    assert len(one.reasons) == 1
    assert isinstance(one.generation, Unavailable)


def test_measurements_of_earlier_versions_are_read() -> None:
    earlier = made_measurement("student-int8.tflite")
    read = Measurement.model_validate(earlier)
    assert read.generation is None
    assert "generation" not in read.model_dump(mode="json")
    assert row(read.model_dump(mode="json"))[list(COLUMNS).index("decode_tokens_per_s")] is None


def test_the_options_become_lengths() -> None:
    options: Any = {"preset": "quick", "threads": 1} | dict.fromkeys(("cores", "governor", "cool_to", "python", "mirror"))
    found = command.protocol_of(options | {"prompt_tokens": "32, 192", "new_tokens": 64})
    assert (found.prompts, found.new_tokens) == ([32, 192], 64)
    assert command.protocol_of(options).prompts is None
    assert command.arguments({"prompt_tokens": "32,192", "new_tokens": 64}) == ["--prompt-tokens", "32,192", "--new-tokens", "64"]
    for wrong in ("0", "3,x", "", "-4", "²"):
        with pytest.raises(UserError, match="--prompt-tokens: found"):
            command.protocol_of(options | {"prompt_tokens": wrong})


def generated(first_ms: float = 40.0) -> Generation:
    found = figures([*sequences(32, first_ms, 10.0), *sequences(128, 4 * first_ms, 12.0)], Asked(FILE, (32, 128), 5))  # type: ignore[list-item]
    assert isinstance(found, Generation)
    return found


def test_the_table_and_the_report_show_each_length_of_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    measurement = bench(PHONE, "student-int8.onnx", 9.0, generation=generated())
    unknown = bench(PHONE, "student-int8.pte", 9.0, generation=Unavailable(unavailable="the file does not say"))
    command.show(
        DeviceBench(device=PHONE, status="ok", measurements=[measurement, unknown, bench(PHONE, "a.tflite", 1.0, generation=NO_STATE)])
    )
    printed = capsys.readouterr().out
    assert "40.00, 40.00" in printed
    assert "32" in printed
    assert "128" in printed
    assert printed.count("generation was not measured") == 1
    assert "student-int8.pte: generation was not measured: the file does not say" in printed
    text = render_devices([measurement, bench(PHONE, "a.tflite", 1.0)])
    table = Page(text).tables["Generation on devices: a call with the prompt, then one for each further token"][PHONE]
    assert (table["prompt, tokens"], table["first token, ms"]) == ("32", "40.0 [40.0, 40.0]")
    assert (table["decode, tokens/s"], table["prefill, tokens/s"]) == ("100", "800")
    assert "83.3" in text, "the decode rate behind the longer prompt"
    assert "Generation on devices" not in render_devices([bench(PHONE, "a.tflite", 1.0)])
