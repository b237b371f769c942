"""The client of an endpoint against a server that misbehaves."""

import dataclasses
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from hostile import PIECES, Hostile, hostile_server

from edgedistill.errors import DeviceFailed, UserError
from edgedistill.tasks.causal_lm.answers import endpoint as client
from edgedistill.tasks.causal_lm.answers.asking import Answer, Prompt
from edgedistill.tasks.causal_lm.answers.endpoint import EndpointAsker
from edgedistill.tasks.causal_lm.answers.recipe import Endpoint, Sampling

KEY = "sk-secret-0123456789abcdef"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("TEACHER_KEY", KEY)
    with hostile_server() as served:
        yield served


def chat(text: str) -> Prompt:
    return Prompt(messages=[{"role": "user", "content": text}])


def ask(server: Hostile, prompts: list[Prompt], sampling: Sampling | None = None, **fields: object) -> list[Answer]:
    given = {"base_url": server.url, "model": "teacher", "timeout": 0.5, "key_from": "TEACHER_KEY", "concurrency": 1, **fields}
    return list(EndpointAsker(Endpoint.model_validate(given)).ask(prompts, sampling or Sampling(max_tokens=16)))


def whole(prompt: str, seed: int = 0) -> str:
    return f"{''.join(PIECES)} {prompt} {seed}"


def test_a_chat_is_answered_with_text_usage_and_reason(server: Hostile) -> None:
    (answer,) = ask(server, [chat("one")], Sampling(max_tokens=16, temperature=0.5, top_p=0.9, seed=3, stop=["END"]))
    assert answer == dataclasses.replace(
        answer, key=chat("one").key, sample=0, text=whole("one", 3), complete=True, finish_reason="stop", source=server.url[7:-3]
    )
    assert (answer.usage.prompt, answer.usage.completion, answer.usage.estimated) == (7, 5, False)
    (body,) = server.bodies
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "teacher", "messages": [{"role": "user", "content": "one"}], "max_tokens": 16, "temperature": 0.5, "top_p": 0.9,
        "stream": True, "stream_options": {"include_usage": True}, "seed": 3, "stop": ["END"],
    }  # fmt: skip


def test_the_text_that_ended_an_answer_is_cut(server: Hostile) -> None:
    (answer,) = ask(server, [chat("one")], Sampling(max_tokens=16, stop=["pieces", "swer"]))
    assert (answer.text, answer.finish_reason) == ("An an", "stop")


def test_a_text_is_continued_by_the_other_path_with_its_log_probabilities(server: Hostile) -> None:
    (answer,) = ask(server, [Prompt(text="once")], top_logprobs=2, limit_field="max_completion_tokens")
    assert (server.paths, server.bodies[0]["prompt"], server.bodies[0]["logprobs"]) == (["/v1/completions"], "once", 2)
    assert server.bodies[0]["max_completion_tokens"] == 16
    assert answer.text == whole("once")
    assert answer.top_logprobs is not None
    assert [entry["token"] for entry in answer.top_logprobs] == [*PIECES, " once", " 0"]
    assert answer.top_logprobs[0]["top_logprobs"] == [{"token": PIECES[0], "logprob": -0.5}, {"token": "other", "logprob": -1.5}]


def test_log_probabilities_of_chats(server: Hostile) -> None:
    (answer,) = ask(server, [chat("one")], top_logprobs=2)
    assert (server.bodies[0]["logprobs"], server.bodies[0]["top_logprobs"]) == (True, 2)
    assert answer.top_logprobs is not None
    assert answer.top_logprobs[1]["top_logprobs"][1] == {"token": "other", "logprob": -1.5}


def test_a_server_without_log_probabilities_is_told_after_the_first_answer(server: Hostile) -> None:
    server.has_logprobs = False
    asker = EndpointAsker(Endpoint(base_url=server.url, model="teacher", top_logprobs=2, concurrency=1))
    got: list[Answer] = []
    with pytest.raises(UserError, match=r"endpoint.top_logprobs: 127.0.0.1:\d+ sent an answer of 'teacher' without log-prob"):
        got.extend(asker.ask([chat("one"), chat("two")], Sampling()))
    assert len(got) == len(server.bodies) == 1


def test_samples_have_their_own_seeds_and_what_is_answered_is_not_asked(server: Hostile) -> None:
    asker = EndpointAsker(Endpoint(base_url=server.url, model="teacher"))
    answers = list(asker.ask([chat("one"), chat("two")], Sampling(samples=3, seed=10), {(chat("one").key, 1)}))
    assert sorted((answer.text, answer.sample) for answer in answers) == sorted(
        (whole(name, 10 + sample), sample) for name in ("one", "two") for sample in range(3) if (name, sample) != ("one", 1)
    )
    assert server.completed.total() == 5


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_what_may_succeed_later_is_tried_again(server: Hostile, status: int) -> None:
    server.plan = [f"status {status}", f"status {status}"]
    (answer,) = ask(server, [chat("one")])
    assert answer.text == whole("one")
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    "what", ["reset", "hang 1", "page", "garbage", "garbage [1]", 'garbage {"choices": 3}', "garbage {}", "status 500  oops"]
)
def test_what_is_no_answer_is_tried_again(server: Hostile, what: str) -> None:
    server.plan = [what]
    *partial, answer = ask(server, [chat("one")])
    assert answer.complete
    # Where a stream began, its prompt is paid.
    assert [broken.text for broken in partial] == ([""] if what.startswith("garbage") else [])
    assert len(server.bodies) == 2


def test_waits_double(server: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.1)
    server.plan = ["status 500"] * 3
    ask(server, [chat("one")])
    waits = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    # At least half of 0.1, 0.2 and 0.4 s; a busy machine adds to them.
    assert [wait > least for wait, least in zip(waits, (0.05, 0.1, 0.2), strict=True)] == [True] * 3


def test_retry_after_holds_all_requests(server: Hostile) -> None:
    server.plan = ["status 429 0.6"]
    answers = ask(server, [chat(str(number)) for number in range(6)], concurrency=2)
    assert len(answers) == 6
    first, *_ = server.times
    # The other worker may have asked before the refusal came.
    assert sum(moment - first < 0.59 for moment in server.times) <= 2


def test_a_long_retry_after_ends_the_collection(server: Hostile) -> None:
    server.plan = ["status 429 86400"]
    with pytest.raises(DeviceFailed, match=r"answered 429 and asks to wait for 86400 s; then the same command continues"):
        ask(server, [chat("one")])


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ("status 401", r"endpoint.key_from: 127.0.0.1:\d+ answered 401 \(no\); expected a valid key .* environment variable TEACHER_KEY"),
        ("status 403", r"endpoint.key_from: 127.0.0.1:\d+ answered 403"),
        ("status 404", r"endpoint.base_url: 127.0.0.1:\d+ answered 404 \(no\) at .*/v1/chat/completions; .* chat/completions can follow"),
        ("status 404  The model `x` does not exist", r"endpoint.model: 127.0.0.1:\d+ answered 404 .* found 'teacher'"),
        ('status 400  {"error": {"message": "bad", "param": "temperature"}}', r"sampling.temperature: 127.0.0.1:\d+ answered 400 \(bad\)"),
        (
            'status 400  {"error": {"message": "context length of the model", "param": "messages"}}',
            r"endpoint: .* for the prompt [0-9a-f]{12}",
        ),
        ('status 400  {"error": {"message": "use max_completion_tokens", "param": "max_tokens"}}', r"endpoint.limit_field: "),
        ('status 422  {"detail": [{"loc": ["body", "top_p"], "msg": "too large"}]}', r"sampling.top_p: .* answered 422"),
        ('status 429  {"error": {"message": "pay", "code": "insufficient_quota"}}', r"answered 429 \(pay\)"),
        ("redirect https://elsewhere.example/v1", r"endpoint.base_url: .* redirects .* to https://elsewhere.example/v1"),
    ],
)
def test_a_refusal_is_told_once_with_its_field_and_host(server: Hostile, plan: str, told: str) -> None:
    server.plan = [plan]
    with pytest.raises(UserError, match=told):
        ask(server, [chat("one"), chat("two")])
    assert len(server.bodies) == 1


def test_an_answer_cut_off_is_given_as_partial_and_asked_again(server: Hostile) -> None:
    server.plan = ["cut 3", "error-event", "ends-early", "cut 0"]
    answers = ask(server, [chat("one")])
    assert [(answer.text, answer.complete, answer.finish_reason) for answer in answers] == [
        ("An answer in ", False, None), ("An ", False, None), ("An ", False, None), ("", False, None),
        (whole("one"), True, "stop"),
    ]  # fmt: skip
    assert [answer.usage.completion for answer in answers] == [3, 1, 1, 0, 5]
    assert [answer.usage.estimated for answer in answers] == [True, True, True, True, False]


def test_what_a_server_says_in_a_stream_is_told(server: Hostile) -> None:
    server.plan = ["error-event"]
    with pytest.raises(DeviceFailed, match="the server broke off: out of memory; 1 try for sample 0"):
        ask(server, [chat("one")], retries=0)


def test_a_stall_is_seen_behind_comments(server: Hostile) -> None:
    server.plan = ["stall 5"]
    started = time.monotonic()
    partial, complete = ask(server, [chat("one")])
    assert time.monotonic() - started < 4
    assert (partial.text, partial.complete, complete.complete) == ("An answer ", False, True)


def test_an_answer_whose_end_is_lost_is_complete_and_not_paid_again(server: Hostile) -> None:
    server.plan = ["lost-end"]
    (answer,) = ask(server, [chat("one")])
    assert (answer.text, answer.complete, answer.usage.estimated) == (whole("one"), True, True)
    assert len(server.bodies) == 1


def test_an_answer_without_a_stream_and_one_without_usage(server: Hostile) -> None:
    server.plan = ["whole", "no-usage"]
    one, two = ask(server, [chat("one"), chat("two")])
    assert (one.text, one.usage.completion, one.usage.estimated) == (whole("one"), 5, False)
    assert (two.text, two.usage.prompt, two.usage.completion, two.usage.estimated) == (whole("two"), None, 6, True)


def test_an_endless_answer_is_given_up(server: Hostile) -> None:
    server.plan = ["endless"]
    partial, complete = ask(server, [chat("one")])
    assert len(partial.text) < 5_000_000
    assert complete.text == whole("one")


def test_one_prompt_at_fault_does_not_stop_the_others(server: Hostile, capfd: pytest.CaptureFixture[str]) -> None:
    server.plan = ["answer", "status 500  boom", "status 500  boom"]
    answers = ask(server, [chat("one"), chat("two"), chat("three")], retries=1)
    assert [answer.key for answer in answers] == [chat("one").key, chat("three").key]
    assert f"500 boom; 2 tries for sample 0 of the prompt {chat('two').key[:12]}; the others go on" in capfd.readouterr().err


@pytest.mark.parametrize("count", [1, 9])
def test_a_server_that_is_down_is_told(server: Hostile, count: int) -> None:
    server.plan = ["status 500  boom"] * 100
    with pytest.raises(DeviceFailed, match=r"127.0.0.1:\d+: 500 boom; 2 tries for .* the same command continues"):
        ask(server, [chat(str(number)) for number in range(count)], retries=1)
    assert len(server.bodies) == 2 * min(count, 3)


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.01)
    with hostile_server() as served:
        pass
    with pytest.raises(DeviceFailed, match=r"the connection failed \(ConnectError: .*; 2 tries"):
        ask(served, [chat("one")], key_from=None, retries=1)


def test_several_requests_at_once_and_no_more(server: Hostile) -> None:
    server.plan = ["hang 0.1"] * 4
    ask(server, [chat(str(number)) for number in range(12)], concurrency=4, timeout=2.0)
    assert server.most_at_once == 4


def test_limits_a_minute(server: Hostile) -> None:
    ask(server, [chat(str(number)) for number in range(5)], concurrency=5, requests_per_minute=600)
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert 0.38 < sum(gaps) < 5


def test_tokens_a_minute_count_what_was_used(server: Hostile) -> None:
    # 1000 tokens are reserved for each, and 12 are used: reserved alone, the last would start after 60 s.
    started = time.monotonic()
    ask(server, [chat(str(number)) for number in range(4)], Sampling(max_tokens=1000), tokens_per_minute=4000)
    assert time.monotonic() - started < 5
    server.times.clear()
    ask(server, [chat(str(number)) for number in range(4)], Sampling(max_tokens=10), tokens_per_minute=3600)
    # 12 tokens each at 60 a second.
    assert 0.5 < server.times[-1] - server.times[0] < 5


def test_tokens_that_were_not_used_are_given_back(server: Hostile) -> None:
    server.plan = ["status 500"] * 3
    started = time.monotonic()
    # Each try reserves a minute.
    ask(server, [chat("one")], Sampling(max_tokens=1000), tokens_per_minute=1000)
    assert time.monotonic() - started < 5


def test_at_most_as_many_answers_as_requests_at_once_are_not_taken(server: Hostile) -> None:
    asker = EndpointAsker(Endpoint(base_url=server.url, model="teacher", concurrency=3))
    answers = asker.ask([chat(str(number)) for number in range(20)], Sampling())
    next(answers)
    time.sleep(0.5)
    assert server.completed.total() == 3
    answers.close()
    assert threading.active_count() < 10
    assert not any(thread.name == "answers" for thread in threading.enumerate())


def test_an_interrupt_leaves_what_arrived_and_ends_soon(server: Hostile) -> None:
    server.plan = ["answer", "stall 20", "stall 20"]
    asker = EndpointAsker(Endpoint(base_url=server.url, model="teacher", concurrency=3, timeout=60.0))
    got: list[Answer] = []
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        got.extend(asker.ask([chat("one"), chat("two"), chat("three")], Sampling()))
    assert time.monotonic() - started < 3
    assert sorted((answer.text, answer.complete) for answer in got)[:2] == [("An answer ", False)] * 2
    assert not any(thread.name == "answers" for thread in threading.enumerate())


def test_the_key_is_nowhere(server: Hostile, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    server.plan = ["echo", f"status 500  echo {KEY}", f"status 401  Incorrect API key: {KEY}"]
    asker = EndpointAsker(Endpoint(base_url=server.url, model="teacher", key_from="TEACHER_KEY", concurrency=1, top_logprobs=1))
    got: list[Answer] = []
    with pytest.raises(UserError) as told:
        got.extend(asker.ask([chat("one"), chat("two")], Sampling()))
    assert len(server.bodies) == 3
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)
    assert (got[0].text, got[0].finish_reason) == ("[key][key]", "[key]")
    assert got[0].top_logprobs is not None
    assert got[0].top_logprobs[2] == {"token": "[key]", "top_logprobs": [{"token": "[key]"}]}
    streams = capfd.readouterr()
    seen = (
        repr(got)
        + repr(got[0].top_logprobs)
        + repr(vars(asker))
        + str(told.getrepr(style="long", showlocals=True))
        + caplog.text
        + streams.out
        + streams.err
    )
    assert "Incorrect API key: [key]" in seen
    assert caplog.text
    assert KEY not in seen


@pytest.mark.parametrize(
    ("value", "told"), [("", "TEACHER_KEY is not set"), ("two words", "holds what no key has"), ("schlüssel", "holds what")]
)
def test_a_key_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str, told: str) -> None:
    monkeypatch.setenv("TEACHER_KEY", value)
    with pytest.raises(UserError, match=told) as error:
        EndpointAsker(Endpoint(base_url="http://localhost/v1", model="teacher", key_from="TEACHER_KEY"))
    assert not value or value not in str(error.value)
