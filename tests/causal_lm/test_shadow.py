"""The shadow phase: exchanges are read, answers are compared, traces are replayed, and a proxy serves on whatever the student does."""

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import edgedistill
from made_language_bundle import FP32, INT8, bundle
from made_llm import write_jsonl

from edgedistill.errors import UserError
from edgedistill.records.documents import documents
from edgedistill.steps.generate import Writing, generate
from edgedistill.steps.shadow import Rules, Run, replay
from edgedistill.tasks.causal_lm.agreement import Compare
from edgedistill.tasks.causal_lm.exchanges import NotComparable, exchange

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


@pytest.fixture(scope="module")
def answered() -> dict[str, str]:
    """What the student of the bundle answers, whose weights are random."""
    asked = ("play it", "wake me at seven", "What is the weather in Ulm today?")
    return {text: generate(bundle(), text, artifact=INT8.name, writing=Writing(max_tokens=8)).text for text in asked}


def traces(path: Path, answered: dict[str, str], count: int, wrong: int = 0) -> Path:
    """Traces of a teacher that answers as the student does, but for the first `wrong`."""
    rows = []
    for number in range(count):
        text, answer = list(answered.items())[number % len(answered)]
        messages = [{"role": "user", "content": text}]
        rows.append({"messages": messages, "answer": answer if number >= wrong else "no", "max_tokens": 8, "ms": 100 + number})
    return write_jsonl(path, rows)


def test_a_replay_decides_and_says_how_many_it_took(tmp_path: Path, answered: dict[str, str]) -> None:
    file = traces(tmp_path / "traces.jsonl", answered, 90)
    options = ("--traces", file, "--out", "seen", "--people", 5, "--json")
    done = edgedistill("shadow", bundle(), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, documents()["shadow"].model_json_schema(mode="serialization", by_alias=True))
    assert (document["decision"], document["decided_at"], document["n"], document["disagreements"]) == ("inside", 81, 90, 0)
    assert (document["student"], document["teacher_ms"]["p50"], document["student_ms"]["n"]) == (INT8.name, 144.5, 90)
    assert json.loads((tmp_path / "seen/shadow.json").read_text()) == document
    verdicts = (tmp_path / "seen/verdicts.jsonl").read_text()
    assert len(verdicts.splitlines()) == 91
    assert not any(text in verdicts for text in answered)
    people = [json.loads(line) for line in (tmp_path / "seen/people.jsonl").read_text().splitlines()]
    assert len(people) == 5
    for row in people:
        (message,) = row["prompt"]
        assert row["answers"] == dict.fromkeys(("teacher", "student"), answered[message["content"]])


def test_a_replay_that_was_interrupted_goes_on(tmp_path: Path, answered: dict[str, str]) -> None:
    run, rules = Run(bundle(), artifact=INT8.name, out=tmp_path / "seen"), Rules(tolerance=0.2)
    rows = traces(tmp_path / "all.jsonl", answered, 40, wrong=20).read_text().splitlines(keepends=True)
    (tmp_path / "some.jsonl").write_text("".join(rows[:15]))
    first = replay(run, rules, tmp_path / "some.jsonl")
    assert (first.n, first.disagreements, first.decision, first.status) == (15, 15, "outside", "check_failed")
    with (tmp_path / "seen/verdicts.jsonl").open("a") as file:
        # It was killed in the middle of a line.
        file.write('{"id": "16:')
    whole = replay(run, rules, tmp_path / "all.jsonl")
    assert (whole.n, whole.disagreements, whole.why) == (40, 20, {"meaning": 20})
    assert whole == replay(run, rules, tmp_path / "all.jsonl").model_copy(update={"restarts": 0})
    with pytest.raises(UserError, match="of another student, or by other rules"):
        replay(run, Rules(tolerance=0.1), tmp_path / "all.jsonl")


def test_what_the_student_cannot_answer_is_a_disagreement(tmp_path: Path) -> None:
    rows = [
        {"request": {"prompt": "word " * 300}, "response": {"choices": [{"text": "x"}]}},
        {"request": {**ASKED, "n": 3}, "response": {"choices": []}},
    ]
    document = replay(Run(bundle(), FP32.name, out=tmp_path / "seen"), Rules(), write_jsonl(tmp_path / "t.jsonl", rows))
    assert (document.n, document.why, document.not_compared) == (1, {"no answer": 1}, {"the request asks for several answers": 1})
    assert "found a prompt of" in (tmp_path / "seen/verdicts.jsonl").read_text()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x", "traces.jsonl:1: found no JSON"),
        ("[]", "traces.jsonl:1: found no object"),
        ('{"messages": []}', "traces.jsonl:1: found messages, expected request and response"),
        ('{"messages": [], "answer": "x", "ms": "2"}', "ms: found '2', expected milliseconds"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "traces.jsonl").write_text(line)
    with pytest.raises(UserError, match=said):
        replay(Run(bundle(), out=tmp_path / "seen"), Rules(), tmp_path / "traces.jsonl")
    assert not (tmp_path / "seen").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "expected --traces FILE or --teacher URL"),
        (("--teacher", "http://key@host/v1"), "expected a URL of host and path"),
        (("--teacher", "http://h/v1", "--tolerance", "5"), "found tolerance 5.0, expected a share"),
        (("--teacher", "http://h/v1", "--policy", "("), "expected a regular expression"),
        (("--teacher", "http://h/v1", "--scorer", "folder"), "expected FOLDER:LABEL"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = edgedistill("shadow", bundle(), *options, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "key@" not in done.stderr
