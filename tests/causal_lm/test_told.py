"""Log-probabilities that a service told of its answers: which tokens they are of, and what a student learns of them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import edgedistill
from made_llm import fields
from made_service import KNOWN, served
from torch import nn

from edgedistill.distill.criterion import Criterion
from edgedistill.distill.formulas import Compared
from edgedistill.rows import Rows
from edgedistill.tasks.causal_lm import chat, losses, told
from edgedistill.tasks.causal_lm.loss_configs import TokenCrossEntropy, TokenLosses, TopLogProbs
from edgedistill.tasks.causal_lm.recipe import TrainedBytes
from edgedistill.tasks.data import Batch

RNG = np.random.default_rng(0)
ROWS, VOCABULARY, K = 6, 11, 3
STUDENT, TEACHER = (torch.tensor(RNG.normal(size=(ROWS, VOCABULARY)) * 3) for _ in range(2))


def told_of(logits: torch.Tensor, k: int = K) -> torch.Tensor:
    """What a service with these logits tells of its k likeliest tokens, [n, 2, k]."""
    best = logits.log_softmax(1).topk(k)
    return torch.stack([best.indices.double(), best.values], dim=1)


def loss_of(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return losses.told_divergence(TopLogProbs(), Compared({"logits": student}, {}, target, 0.0, nn.ModuleDict(), "it", 1))


def test_the_tokens_that_are_not_told_count_as_one() -> None:
    p, q = TEACHER.softmax(1).numpy(), STUDENT.softmax(1).numpy()
    expected = []
    for row in range(ROWS):
        named = np.argsort(-p[row])[:K]
        both = [np.append(x[row][named], 1 - x[row][named].sum()) for x in (p, q)]
        expected.append((both[0] * np.log(both[0] / both[1])).sum())
    assert float(loss_of(STUDENT, told_of(TEACHER))) == pytest.approx(np.mean(expected))
    assert np.mean(expected) <= (p * np.log(p / q)).sum(axis=1).mean()


def test_a_missing_token_has_no_say_and_gradients_are_right() -> None:
    target = told_of(TEACHER)
    longer = torch.cat([target, torch.tensor([told.NO_TOKEN, told.UNLIKELY])[None, :, None].expand(ROWS, 2, 2)], dim=2)
    assert float(loss_of(STUDENT, longer)) == pytest.approx(float(loss_of(STUDENT, target)))
    assert torch.autograd.gradcheck(lambda student: loss_of(student, longer), STUDENT.clone().requires_grad_())
    student = TEACHER.clone().requires_grad_()
    found = loss_of(student, target)
    found.backward()
    assert float(found.detach()) == pytest.approx(0, abs=1e-9)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-9


def test_a_criterion_compares_the_places_that_were_told() -> None:
    used = TokenLosses(ce=TokenCrossEntropy(), top_logprobs=TopLogProbs())
    student, target = STUDENT.reshape(2, 3, -1), told_of(TEACHER).reshape(2, 3, 2, K)
    counts = torch.tensor([[True, False, False], [True, True, False]])
    target[~counts] = torch.nan
    batch = Batch({}, {"logits": torch.zeros(2, 3, dtype=torch.int64), told.TARGET: target}, {told.TARGET: counts})
    _, values = Criterion([used], {"logits": student}, {}, 1)(used, {"logits": student}, batch, {})
    assert float(values["top_logprobs"]) == pytest.approx(float(loss_of(student[counts], target[counts])))


@pytest.fixture(scope="module")
def made() -> chat.Chat:
    """A tokenizer of the example's answers, and of letters of several bytes, which are two tokens or more."""
    return chat.trained(TrainedBytes(vocabulary=320), [*KNOWN.values(), "Ä"])


@pytest.fixture
def tokens(made: chat.Chat) -> told.Tokens:
    return told.Tokens(made.tokenizer.backend_tokenizer.to_str(), made.vocabulary, made.end)


def entry(content: bytes, logprob: float, *others: tuple[str, float], texts: bool = False) -> dict[str, Any]:
    named = {"token": content.decode("utf-8", "replace"), **({} if texts else {"bytes": list(content)})}
    return {**named, "logprob": logprob, "top_logprobs": [{"token": text, "logprob": value} for text, value in others]}


@pytest.mark.parametrize("texts", [False, True])
def test_entries_are_aligned_with_the_tokens_of_an_answer(made: chat.Chat, tokens: told.Tokens, tmp_path: Path, texts: bool) -> None:
    answer = np.array(made.completions(['{"name":"ñandú"}'])[0])
    said = [entry(tokens.bytes[token], -0.1 * place, ("z", -3.0), ("no token", -4.0), texts=texts) for place, token in enumerate(answer)]
    found = told.write([said[:-1], None], iter([answer, answer]), len(answer), 2, tokens, tmp_path)
    assert found == told.Told(0.5, None)
    rows = Rows(tmp_path / told.FILE)[:]
    (z,) = made.tokenizer.backend_tokenizer.encode("z").ids
    for place, token in enumerate(answer[:-1]):
        np.testing.assert_allclose(rows[0, place], [[token, z, told.NO_TOKEN], [-0.1 * place, -3, told.UNLIKELY]], rtol=1e-6)
    assert np.isnan(rows[0, len(answer) - 1]).all(), "the end"
    assert np.isnan(rows[1]).all(), "an answer without entries"


def test_nothing_counts_behind_a_token_that_is_another(made: chat.Chat, tokens: told.Tokens, tmp_path: Path) -> None:
    answer = np.array(made.completions(['{"name":"call"}'])[0])
    said = [entry(tokens.bytes[token], -1.0) for token in answer[:-1]]
    said[2] = entry(b"other", -1.0)
    found = told.write([said], iter([answer]), len(answer), 1, tokens, tmp_path)
    assert found.share == pytest.approx(2 / (len(answer) - 1))
    assert found.other == ("other", tokens.bytes[answer[2]].decode())
    assert np.isfinite(Rows(tmp_path / told.FILE)[0][:, 0, 0]).sum() == 2


def recipe_of(url: str, tokenizer: str) -> dict[str, Any]:
    recipe = fields(teacher={"endpoint": {"base_url": url, "model": "m", "top_logprobs": 2}, "answers": {"keep_data": False}})
    recipe["data"] |= {"source": {"example": "tool-calls", "rows": 120}, "tokenizer": tokenizer}
    recipe["distill"]["stages"] = [{"name": "finetune", "epochs": 2, "losses": {"ce": {"weight": 0.1}, "top_logprobs": {}}}]
    return recipe


def entries(asked: dict[str, Any], pieces: list[bytes]) -> list[dict[str, Any]]:
    """What a service tells of the tokens of an answer."""
    assert asked["top_logprobs"] == 2
    return [entry(piece, -0.01, ("x", -5.0)) for piece in pieces]


def distilled(folder: Path, name: str, split: Callable[[str], list[bytes]]) -> subprocess.CompletedProcess[str]:
    """A distillation whose service has the tokens that `split` makes of a text."""
    with served(lambda asked, text: entries(asked, split(text))) as url:
        recipe = recipe_of(url, "tokenizer") | {"name": name}
        recipe["teacher"]["endpoint"]["model"] = name
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        return edgedistill("distill", f"{name}.yaml", "--json", cwd=folder)


@pytest.mark.slow
def test_a_student_learns_what_a_service_told(tmp_path: Path, made: chat.Chat) -> None:
    made.save(tmp_path / "tokenizer")
    backend = made.tokenizer.backend_tokenizer
    read = told.Tokens(backend.to_str(), made.vocabulary, made.end)
    done = distilled(tmp_path, "same", lambda text: [read.bytes[token] for token in backend.encode(text).ids])
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs/same/work/answers/facts.json").read_text())["told"] == 1.0
    curve = [json.loads(line) for line in (tmp_path / "runs/same/work/student/curve.jsonl").read_text().splitlines()]
    first, last = (line["losses"]["top_logprobs"] for line in curve)
    assert 0 < last < first
    # Letters, where the student has longer tokens.
    done = distilled(tmp_path, "letters", lambda text: [letter.encode() for letter in text])
    assert done.returncode == 2
    assert "of the answers' tokens among those that the endpoint told of, such as" in done.stderr


def test_what_was_not_asked_for_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    recipe = recipe_of("http://127.0.0.1:1/v1", "tokenizer")
    del recipe["teacher"]["endpoint"]["top_logprobs"]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    done = edgedistill("distill", "tiny.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "teacher.endpoint.top_logprobs beside the loss top_logprobs" in done.stderr
