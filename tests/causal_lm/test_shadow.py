"""The shadow phase: exchanges are read, answers are compared, traces are replayed, and a proxy serves on whatever the student does."""

import contextlib
import dataclasses
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import numpy as np
import psutil
import pytest
from conftest import edgedistill
from glue_text_bundle import TextBundle
from glue_texts import wordpiece
from made_language_bundle import FP32, INT8, bundle
from made_llm import write_jsonl

from edgedistill.errors import UserError
from edgedistill.gate.shadow.serving import serving
from edgedistill.recipe.scrub import Scrub
from edgedistill.records.documents import documents
from edgedistill.steps import shadow
from edgedistill.steps.generate import Writing, generate
from edgedistill.steps.model_files import found
from edgedistill.steps.shadow import Rules, Shadowing, replay, serve
from edgedistill.tasks.causal_lm.agreement import Compare
from edgedistill.tasks.causal_lm.exchanges import NotComparable, exchange
from edgedistill.tasks.embedding.task import EMBEDDING
from edgedistill.tasks.model_file import ModelFile
from edgedistill.tasks.text_classification.task import TEXT_CLASSIFICATION

ASKED = {"messages": [{"role": "user", "content": "play it"}]}
CALL = {"name": "play", "arguments": {"title": "it"}}


def whole(message: dict[str, Any], finish: str = "stop") -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode()


def streamed(*deltas: dict[str, Any], finish: str | None = "stop", done: bool = True) -> bytes:
    events = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    if finish:
        events.append({"choices": [{"delta": {}, "finish_reason": finish}]})
    lines = [json.dumps(event) for event in events] + ["[DONE]"] * done
    return b": hello\r\n\r\n" + "".join(f"data: {line}\n\n" for line in lines).encode()


def read(request: Any, response: bytes, *more: str) -> Any:
    return exchange(json.dumps(request).encode(), response, *more)


def test_answers_are_read_whole_and_streamed_and_packed() -> None:
    assert read(ASKED, whole({"content": "é done"})).answer == "é done"
    events = streamed({"role": "assistant"}, {"content": "é "}, {"content": "done"})
    assert read(ASKED, events, "text/event-stream; charset=utf-8").answer == "é done"
    assert read(ASKED, gzip.compress(whole({"content": "é done"})), "application/json", "gzip").answer == "é done"
    seen = read({"prompt": "once", "max_tokens": 3}, json.dumps({"choices": [{"text": " upon"}]}).encode())
    assert (seen.prompt.text, seen.answer, seen.most) == ("once", " upon", 3)
    parts = [{"type": "text", "text": "play "}, {"type": "text", "text": "it"}]
    seen = read({"messages": [{"role": "user", "content": parts}], "max_completion_tokens": 5, "max_tokens": 9}, whole({"content": "x"}))
    assert (seen.prompt.messages, seen.most) == (ASKED["messages"], 5)


def test_a_tool_call_is_what_a_student_writes_for_it() -> None:
    function = {"name": "play", "arguments": '{"title": "it"}'}
    told = whole({"content": None, "tool_calls": [{"id": "1", "function": function}]}, "tool_calls")
    assert json.loads(read(ASKED, told).answer) == CALL
    pieces = [{"index": 0, "function": {"name": "play", "arguments": ""}}, {"index": 0, "function": {"arguments": '{"title": '}}]
    pieces.append({"index": 0, "function": {"arguments": '"it"}'}})
    events = streamed(*({"tool_calls": [piece]} for piece in pieces), finish="tool_calls")
    assert json.loads(read(ASKED, events, "text/event-stream").answer) == CALL
    twice = whole({"tool_calls": [{"function": function}, {"function": function}]}, "tool_calls")
    assert json.loads(read(ASKED, twice).answer) == [CALL, CALL]


@pytest.mark.parametrize(
    ("request_", "response", "more", "why"),
    [
        ([], whole({"content": "x"}), (), "the request is no JSON object"),
        ({**ASKED, "n": 2}, whole({"content": "x"}), (), "asks for several answers"),
        ({"model": "m"}, whole({"content": "x"}), (), "no messages"),
        ({"messages": [{"content": [{"type": "image_url"}]}]}, whole({"content": "x"}), (), "is no text"),
        (ASKED, whole({"content": "x"}, "length"), (), "cut off"),
        (ASKED, whole({"content": " "}), (), "is empty"),
        (ASKED, b"<html>", (), "no JSON object"),
        (ASKED, b'{"choices": 3}', (), "not of the API"),
        (ASKED, streamed({"content": "x"}, finish=None, done=False), ("text/event-stream",), "broke off"),
        (ASKED, b"x", ("application/json", "br"), "compressed in a way"),
        (ASKED, b"no gzip", ("application/json", "gzip"), "not compressed as it says"),
    ],
)
def test_what_is_no_text_for_a_text_is_not_compared(request_: Any, response: bytes, more: tuple[str, ...], why: str) -> None:
    with pytest.raises(NotComparable, match=why):
        read(request_, response, *more)


def test_answers_differ_in_format_policy_or_meaning() -> None:
    compare = Compare(policy=["(?i)as an ai"])
    call = json.dumps(CALL)
    assert compare(call, '{"arguments":{"title":"it"},"name":"play"}').agrees
    assert compare(call, "I play it.").why == "format"
    assert compare(call, json.dumps({**CALL, "name": "stop"})).why == "meaning"
    assert compare("Fine.", "As an AI I cannot.").why == "policy"
    # Where the teacher breaks the rule too, the meaning counts.
    both = compare("As an AI I can't.", "as an AI  I can't.")
    assert (both.agrees, both.teacher_breaks, both.student_breaks) == (True, ["policy"], ["policy"])
    assert compare("Yes. ", "yes.").agrees
    assert compare("Yes.", "No.").why == "meaning"
    assert compare("3", "3.0").why == "meaning"
    strict = Compare({"type": "object", "required": ["name"]})
    assert strict('{"name": 1}', '{"game": 1}').why == "format"
    near = Compare(similarity=lambda a, b: len(b) / len(a), least=0.5)
    assert (near("abcd", "xy").agrees, near("abcd", "xy").similarity, near("abcd", "x").why) == (True, 0.5, "meaning")


@pytest.fixture
def capitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shadowing:
    """A student that answers in capitals, in place of a file of a language model."""
    text: dict[str, Any] = {"kind": "text", "tokenizer": "", "template": None, "special_tokens": {}}
    files: list[dict[str, Any]] = [{"path": "model", "signature": {"outputs": [{"shape": [1, 1, 8]}]}}]
    answer: dict[str, Any] = {"kind": "next token", "end": 1}
    file = ModelFile(
        "causal-lm", "model", "0" * 64, "", "", "", files, {"tokens": 8}, None, {"input_ids": text}, {"logits": answer}, {}, ""
    )
    monkeypatch.setattr(shadow, "found", lambda source, artifact: contextlib.nullcontext(file))
    monkeypatch.setattr(shadow, "_CHILD", "made_student")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
    return Shadowing(tmp_path, out=tmp_path / "seen")


def traces(path: Path, count: int, wrong: int = 0) -> Path:
    """Traces of a teacher that answers in capitals too, but for the first `wrong`."""
    answers = [("no" if number < wrong else f"TEXT {number}") for number in range(count)]
    rows = [{"messages": [{"role": "user", "content": f"text {number}"}], "answer": answer} for number, answer in enumerate(answers)]
    return write_jsonl(path, [{**row, "ms": 100 + number} for number, row in enumerate(rows)])


def test_a_replay_decides_and_says_how_many_it_took(tmp_path: Path, capitals: Shadowing) -> None:
    document = replay(capitals, Rules(people=5), traces(tmp_path / "traces.jsonl", 90))
    written = json.loads(document.model_dump_json(by_alias=True))
    jsonschema.validate(written, documents()["shadow"].model_json_schema(mode="serialization", by_alias=True))
    assert (document.decision, document.decided_at, document.status) == ("inside", 81, "ok")
    assert (document.n, document.disagreements, document.student) == (90, 0, "model")
    assert (written["teacher_ms"]["p50"], written["student_ms"]["n"]) == (144.5, 90)
    assert json.loads((tmp_path / "seen/shadow.json").read_text()) == written
    verdicts = (tmp_path / "seen/verdicts.jsonl").read_text()
    assert len(verdicts.splitlines()) == 91
    assert "text" not in verdicts.lower()
    people = [json.loads(line) for line in (tmp_path / "seen/people.jsonl").read_text().splitlines()]
    assert len(people) == 5
    for row in people:
        assert row["answers"] == dict.fromkeys(("teacher", "student"), row["prompt"].upper())


def test_a_replay_that_was_interrupted_goes_on(tmp_path: Path, capitals: Shadowing) -> None:
    rules = Rules(tolerance=0.2)
    rows = traces(tmp_path / "all.jsonl", 40, wrong=20).read_text().splitlines(keepends=True)
    (tmp_path / "some.jsonl").write_text("".join(rows[:15]))
    first = replay(capitals, rules, tmp_path / "some.jsonl")
    assert (first.n, first.disagreements, first.decision, first.status) == (15, 15, "outside", "check_failed")
    with (tmp_path / "seen/verdicts.jsonl").open("a") as file:
        # It was killed in the middle of a line.
        file.write('{"id": "16:')
    whole = replay(capitals, rules, tmp_path / "all.jsonl")
    assert (whole.n, whole.disagreements, whole.why) == (40, 20, {"meaning": 20})
    again = shadow.shadow(tmp_path, tmp_path / "all.jsonl", out=tmp_path / "seen", tolerance=0.2)
    assert again.model_copy(update={"created": whole.created}) == whole
    with pytest.raises(UserError, match="of another student, or by other rules"):
        replay(capitals, Rules(tolerance=0.1), tmp_path / "all.jsonl")


def test_a_replay_goes_on_behind_a_crash(tmp_path: Path, capitals: Shadowing) -> None:
    rows = [{"messages": [{"role": "user", "content": text}], "answer": text.upper()} for text in ("a", "crash", "crash", "b")]
    document = replay(capitals, Rules(), write_jsonl(tmp_path / "t.jsonl", rows))
    assert (document.n, document.why, document.restarts) == (4, {"no answer": 2}, 2)


def test_an_exported_embedder_compares_texts(tmp_path: Path) -> None:
    made = TextBundle(tmp_path / "made", "embedding", wordpiece())
    with found(tmp_path / "made") as file:
        embedder = EMBEDDING.similarity(file, 1)
    a, b = (made.answer(text).astype(float) for text in ("What is the weather?", "word"))
    expected = a @ b / np.sqrt((a @ a) * (b @ b))
    assert embedder("What is the weather?", "word") == pytest.approx(expected, abs=1e-5)
    assert embedder("word " * 500, "word " * 600) == pytest.approx(1.0)
    (tmp_path / "made/tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer.json of .* was changed or damaged"), found(tmp_path / "made"):
        pass
    with pytest.raises(UserError, match="is of the task text-classification, expected a file of a model of sentence embeddings"):
        TEXT_CLASSIFICATION.similarity(file, 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x", "traces.jsonl:1: found no JSON"),
        ("[]", "traces.jsonl:1: found no object"),
        ('{"messages": []}', "traces.jsonl:1: found messages, expected request and response"),
        ('{"messages": [], "answer": "x", "ms": "2"}', "ms: found '2', expected milliseconds"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path: Path, capitals: Shadowing, line: str, said: str) -> None:
    (tmp_path / "traces.jsonl").write_text(line)
    with pytest.raises(UserError, match=said):
        replay(capitals, Rules(), tmp_path / "traces.jsonl")
    assert not (tmp_path / "seen").exists()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"tolerance": 5.0}, "found tolerance 5.0, expected a share"),
        ({"policy": ["("]}, "expected a regular expression"),
        ({"scorer": "folder"}, "expected FOLDER:LABEL"),
        ({"scorer": "folder:label", "embedder": Path("x")}, "expected one of them"),
    ],
)
def test_rules_that_are_none_are_refused(tmp_path: Path, capitals: Shadowing, rules: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replay(capitals, Rules(**rules), traces(tmp_path / "traces.jsonl", 1))


@pytest.mark.parametrize("teacher", ["http://key@host/v1", "host/v1", "ftp://host", "http://host:x", "http://host/v1?key=1", ""])
def test_a_teacher_is_a_url_and_the_message_does_not_repeat_it(capitals: Shadowing, teacher: str) -> None:
    with pytest.raises(UserError, match="expected a URL of host and path") as caught:
        serve(capitals, Rules(), teacher)
    assert "key" not in str(caught.value)


def test_only_a_proxy_records_and_only_what_is_recorded_is_scrubbed(tmp_path: Path, capitals: Shadowing) -> None:
    with pytest.raises(UserError, match="beside traces, which are recorded already"):
        replay(dataclasses.replace(capitals, record=tmp_path / "r.jsonl"), Rules(), traces(tmp_path / "traces.jsonl", 1))
    with pytest.raises(UserError, match=r"found --scrub, .* name their file by --record"):
        serve(dataclasses.replace(capitals, scrub=Scrub()), Rules(), "http://localhost:1/v1")


def test_the_command_takes_traces_or_a_teacher(tmp_path: Path) -> None:
    done = edgedistill("shadow", tmp_path, cwd=tmp_path)
    assert (done.returncode, "expected --traces FILE or --teacher URL" in done.stderr) == (2, True)


@pytest.mark.slow
def test_a_file_of_a_bundle_answers_traces(tmp_path: Path) -> None:
    asked = ("play it", "wake me at seven", "What is the weather in Ulm today?")
    rows: list[dict[str, Any]] = []
    for text in asked:
        answer = generate(bundle(), text, artifact=INT8.name, writing=Writing(max_tokens=8)).text
        rows.append({"messages": [{"role": "user", "content": text}], "answer": answer, "max_tokens": 8})
    rows += [
        {"request": {"prompt": "word " * 300}, "response": {"choices": [{"text": "x"}]}},
        {"request": {**ASKED, "n": 3}, "response": {"choices": []}},
    ]
    options = ("--traces", write_jsonl(tmp_path / "t.jsonl", rows), "--out", "seen", "--json")
    done = edgedistill("shadow", bundle(), *options, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert (document["student"], document["n"], document["why"]) == (INT8.name, 4, {"no answer": 1})
    assert document["not_compared"] == {"the request asks for several answers": 1}
    assert "found a prompt of" in (tmp_path / "seen/verdicts.jsonl").read_text()
    shown = edgedistill("shadow", bundle(), *options[:-1], cwd=tmp_path)
    assert "UNDECIDED against the tolerance of 5%" in shown.stdout


def pair_classifier(folder: Path) -> Path:
    """A classifier of two texts with random weights, saved as transformers saves one."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=wordpiece(), unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=64
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "initializer_range": 0.8}
    names = {0: "contradiction", 1: "entailment"}
    config = BertConfig(vocab_size=len(tokenizer), **sizes, id2label=names, label2id={name: number for number, name in names.items()})
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_saved_classifier_scores_pairs_of_answers(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = pair_classifier(tmp_path / "scorer")
    texts = ("play it", "wake me at seven", "What is the weather in Ulm today?", "stop")
    rows = [{"messages": [{"role": "user", "content": text}], "answer": f"I say {text}.", "max_tokens": 8} for text in texts]
    options = ("--traces", write_jsonl(tmp_path / "t.jsonl", rows), "--artifact", INT8.name, "--least", "0.5", "--json")
    done = edgedistill("shadow", bundle(), *options, "--scorer", f"{folder}:Entailment", "--out", "seen", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    people = {row["id"]: row["answers"] for row in map(json.loads, (tmp_path / "seen/people.jsonl").read_text().splitlines())}
    verdicts = [json.loads(line) for line in (tmp_path / "seen/verdicts.jsonl").read_text().splitlines()[1:]]

    def score(first: str, second: str) -> float:
        with torch.no_grad():
            return float(model(**tokenizer(first, second, return_tensors="pt")).logits.softmax(1)[0, 1])

    expected, turned = [], []
    for verdict in verdicts:
        both = people[verdict["id"]]
        expected.append(score(both["teacher"], both["student"]))
        turned.append(score(both["student"], both["teacher"]))
        assert verdict["similarity"] == pytest.approx(expected[-1], abs=1e-5)
        assert verdict["why"] == (None if verdict["similarity"] >= 0.5 else "meaning")
    assert len(expected) == len(texts)
    # The order of the two counts, and so do the texts.
    assert np.abs(np.subtract(expected, turned)).max() > 1e-3
    assert np.ptp(expected) > 1e-3
    assert document["disagreements"] == sum(one < 0.5 for one in expected)
    assert document["similarity"]["p50"] == pytest.approx(np.median(expected), abs=1e-5)
    # Another label gives the rest of the probability.
    setting = Shadowing(bundle(), INT8.name, out=tmp_path / "other")
    other = replay(setting, Rules(scorer=f"{folder}:contradiction", least=0.5), tmp_path / "t.jsonl")
    assert other.similarity.p50 == pytest.approx(1 - np.median(expected), abs=1e-5)  # type: ignore[union-attr]
    wrong = edgedistill("shadow", bundle(), *options, "--scorer", f"{folder}:entail", "--out", "third", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--scorer.label: found 'entail', expected one of contradiction, entailment" in wrong.stdout + wrong.stderr


@pytest.mark.slow
def test_the_proxy_serves_on_when_its_student_is_killed_and_ends_with_its_result(tmp_path: Path) -> None:
    with serving(teacher, "127.0.0.1", 0) as behind:
        options = ["--teacher", f"http://127.0.0.1:{behind.port}/v1", "--port", "0", "--out", "seen", "--record", "traces.jsonl", "--json"]
        command = [sys.executable, "-m", "edgedistill", "shadow", str(bundle()), "--artifact", FP32.name, *options]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        url = ""
        while not url:
            said = process.stderr.readline()
            assert said, "it ended"
            url = next((word.rstrip(";") for word in said.split(" as ")[-1].split() if said.startswith("serving")), "")

        def ask(count: int) -> None:
            for _ in range(count):
                answer = httpx2.post(
                    f"{url}/chat/completions", json={**ASKED, "max_tokens": 4}, headers={"Authorization": "Bearer sk-secret"}
                )
                assert answer.json()["choices"][0]["message"]["content"] == "done"

        ask(3)
        for one in psutil.Process(process.pid).children(recursive=True):
            one.kill()
        ask(3)
        deadline = time.monotonic() + 120
        while len((tmp_path / "seen/verdicts.jsonl").read_text().splitlines()) < 7:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    document = json.loads(out)
    assert (process.returncode, document["mode"], document["n"]) == (3, "proxy", 6), err
    assert document["restarts"] >= 1
    # Six exchanges, but for one that was asked about when all processes were killed.
    assert document["recorded"]["written"] + sum(document["recorded"]["not_written"].values()) + document["recorded"]["dropped"] == 6
    rows = [json.loads(line) for line in (tmp_path / "traces.jsonl").read_text().splitlines()]
    assert rows[0] == {**ASKED, "answer": "done", "max_tokens": 4, "ms": rows[0]["ms"]}
    assert len(rows) == document["recorded"]["written"] >= 3
    replayed = replay(Shadowing(bundle(), FP32.name, out=tmp_path / "again"), Rules(), tmp_path / "traces.jsonl")
    assert (replayed.n, replayed.teacher_ms.n) == (len(rows), len(rows))  # type: ignore[union-attr]
    assert document["student_ms"]["n"] >= 5
    for text in (out, err, (tmp_path / "traces.jsonl").read_text(), *(path.read_text() for path in (tmp_path / "seen").iterdir())):
        assert "sk-secret" not in text


async def teacher(scope: Any, receive: Any, send: Any) -> None:
    """A teacher whose answer is always the same."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": whole({"content": "done"})})
