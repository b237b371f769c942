"""The client of an endpoint against `transformers serve` with a model of random weights. Needs the extra `serving` of transformers."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_decoder import save_decoder

from edgedistill.errors import UserError
from edgedistill.tasks.causal_lm.answers.asking import Answer, Prompt
from edgedistill.tasks.causal_lm.answers.collect import collect, kept
from edgedistill.tasks.causal_lm.answers.endpoint import EndpointAsker
from edgedistill.tasks.causal_lm.answers.ledger import opened
from edgedistill.tasks.causal_lm.answers.local import LocalAsker
from edgedistill.tasks.causal_lm.answers.recipe import Checks, Endpoint, Range, Sampling

_MISSING = [name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]
pytestmark = [
    # Its start takes ten seconds.
    pytest.mark.slow,
    pytest.mark.skipif(bool(_MISSING), reason=f"needs {', '.join(_MISSING)} (pip install 'transformers[serving]')"),
]

CHATS = [Prompt(messages=[{"role": "user", "content": text}]) for text in ("hello", "good morning", "how are you?")]
GREEDY = Sampling(temperature=0, max_tokens=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_decoder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running server of the model in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [
        Path(sys.executable).with_name("transformers"),
        "serve",
        folder,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
    ]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        deadline = time.monotonic() + 120
        while not _healthy(port):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def ask(served: str, folder: Path, prompts: list[Prompt], sampling: Sampling, **fields: Any) -> list[Answer]:
    asked = Endpoint.model_validate({"base_url": served, "model": str(folder), "retries": 0, **fields})
    return sorted(EndpointAsker(asked).ask(prompts, sampling), key=lambda answer: (answer.key, answer.sample))


def local(folder: Path, prompts: list[Prompt], sampling: Sampling) -> list[Answer]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    asker = LocalAsker(AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder), "tiny")
    return sorted(asker.ask(prompts, sampling), key=lambda answer: (answer.key, answer.sample))


@pytest.mark.parametrize("prompts", [CHATS, [Prompt(text="once upon a time"), Prompt(text="a")]])
def test_it_answers_as_the_same_model_here(served: str, folder: Path, prompts: list[Prompt]) -> None:
    there, here = ask(served, folder, prompts, GREEDY), local(folder, prompts, GREEDY)
    assert [(answer.text, answer.finish_reason) for answer in there] == [(answer.text, answer.finish_reason) for answer in here]
    assert [answer.usage for answer in there] == [answer.usage for answer in here]
    assert {answer.finish_reason for answer in there} == {"length"}


def test_it_stops_as_the_same_model_here(served: str, folder: Path) -> None:
    whole = local(folder, CHATS, GREEDY)
    stopping = GREEDY.model_copy(update={"stop": [whole[0].text[6:8]]})
    there, here = ask(served, folder, CHATS, stopping), local(folder, CHATS, stopping)
    assert [(answer.text, answer.finish_reason, answer.usage) for answer in there] == [
        (answer.text, answer.finish_reason, answer.usage) for answer in here
    ]
    assert there[0].text == whole[0].text[: len(there[0].text)] != whole[0].text


def test_it_tells_no_log_probabilities(served: str, folder: Path) -> None:
    with pytest.raises(UserError, match=r"endpoint.top_logprobs: 127.0.0.1:\d+ sent an answer of .* without log-probabilities"):
        ask(served, folder, CHATS, GREEDY, top_logprobs=3)


def test_it_refuses_another_model(served: str, folder: Path) -> None:
    with pytest.raises(UserError, match=r"127.0.0.1:\d+ answered 400 \(Server is pinned to .*; requested 'another'"):
        ask(served, folder, CHATS, GREEDY, model="another")
    with pytest.raises(UserError, match=r"endpoint.base_url: 127.0.0.1:\d+ answered 404 .* most often .../v1"):
        ask(served.removesuffix("/v1"), folder, CHATS, GREEDY)


def test_a_collection_is_paid_once(served: str, folder: Path, tmp_path: Path) -> None:
    asker = EndpointAsker(Endpoint(base_url=served, model=str(folder)))
    with opened(tmp_path / "answers.db") as ledger:
        counts = collect(CHATS, asker, GREEDY, Checks(cut_off=True, tokens=Range(max=24)), ledger)
        assert (counts.answered, counts.recorded, counts.kept, counts.completion_tokens) == (3, 0, 3, 72)
        again = collect(CHATS, asker, GREEDY, Checks(), ledger)
        assert (again.answered, again.recorded, again.dropped) == (0, 3, {"end": 3})
        assert list(kept(ledger)) == []
