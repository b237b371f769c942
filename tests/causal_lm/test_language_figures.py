"""Scores of tokens and of whole answers, against values that are worked out by hand or by another library."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from edgedistill.tasks.causal_lm.answered import Judge, mcnemar, rouge, share
from edgedistill.tasks.causal_lm.fidelity import fidelity
from edgedistill.tasks.causal_lm.metrics import divergence, figures, right, temperature

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((5, 6, 7)).astype(np.float32)
TARGETS = np.where(RNG.random((5, 6)) < 0.6, RNG.integers(0, 7, (5, 6)), -1)


def test_token_accuracy_is_a_mean_over_the_tokens_that_count() -> None:
    logits = np.zeros((2, 3, 4), np.float32)
    logits[0, :, 1] = 1
    logits[1, :, 2] = 1
    targets = np.array([[1, 2, -1], [-1, -1, -1]])
    assert right(logits, targets).tolist() == [0.5, 1.0]


def test_perplexity_is_that_of_torch_and_whole_answers_are_those_without_a_miss() -> None:
    found = figures(LOGITS, TARGETS)
    expected = F.cross_entropy(torch.from_numpy(LOGITS).flatten(0, 1), torch.from_numpy(TARGETS).flatten(), ignore_index=-1)
    assert found["perplexity"] == pytest.approx(math.exp(expected), rel=1e-6)
    best = LOGITS.argmax(axis=2)
    mixed = np.where(np.arange(6)[None] < 3, best, -1)
    mixed[0, 0] = (mixed[0, 0] + 1) % 7
    assert figures(LOGITS, mixed)["exact match"] == pytest.approx(0.8)


def test_calibration_is_that_of_the_tokens_that_count() -> None:
    probabilities = torch.from_numpy(LOGITS).double().softmax(2).flatten(0, 1)
    expected = multiclass_calibration_error(probabilities, torch.from_numpy(TARGETS).flatten(), num_classes=7, n_bins=15, ignore_index=-1)
    assert figures(LOGITS, TARGETS)["ece"] == pytest.approx(float(expected), abs=1e-6)
    assert "ece" not in figures(LOGITS, np.full_like(TARGETS, -1))


def test_the_temperature_is_that_of_the_tokens_that_count() -> None:
    rng = np.random.default_rng(2)
    true = 1.5 * rng.standard_normal((40, 50, 5))
    drawn = (true + rng.gumbel(size=true.shape)).argmax(axis=2)
    counted = np.where(rng.random(drawn.shape) < 0.5, drawn, -1)
    # Tokens that do not count say something else.
    logits = np.where(counted[:, :, None] < 0, -9 * true, 3 * true).astype(np.float32)
    found = temperature(logits, counted)
    assert found == pytest.approx(3, rel=0.1)
    assert figures(logits / found, counted)["ece"] < 0.04 < figures(logits, counted)["ece"]
    assert temperature(logits, np.full_like(counted, -1)) == 1


def test_divergence_is_that_of_torch() -> None:
    other = LOGITS + RNG.standard_normal(LOGITS.shape).astype(np.float32)
    p, q = (torch.from_numpy(x).double().flatten(0, 1).log_softmax(1) for x in (LOGITS, other))
    assert divergence(other, LOGITS) == pytest.approx(float(F.kl_div(q, p, reduction="batchmean", log_target=True)))
    assert divergence(LOGITS, LOGITS) == 0


def test_fidelity_counts_tokens_of_answers_only_and_has_intervals_around_its_means() -> None:
    other = LOGITS + 0.5 * RNG.standard_normal(LOGITS.shape).astype(np.float32)
    found = fidelity(other, LOGITS, TARGETS)
    counted = TARGETS >= 0
    p, q = (torch.from_numpy(x).double()[torch.from_numpy(counted)].log_softmax(1) for x in (LOGITS, other))
    assert found.tokens == counted.sum()
    assert found.divergence == pytest.approx(float(F.kl_div(q, p, reduction="batchmean", log_target=True)))
    assert found.agreement == pytest.approx((LOGITS.argmax(2) == other.argmax(2))[counted].mean())
    assert found.divergence_low < found.divergence < found.divergence_high
    assert found.agreement_low <= found.agreement <= found.agreement_high
    same = fidelity(LOGITS, LOGITS, TARGETS)
    assert (same.divergence, same.agreement, same.agreement_low) == (0, 1, 1)


def test_the_intervals_of_fidelity_hold_the_mean_of_many_rows() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(60):
        expected = rng.standard_normal((40, 3, 5)).astype(np.float32)
        # A third of the tokens agree by a draw of the row.
        logits = np.where(rng.random((40, 1, 1)) < 0.3, np.roll(expected, 1, axis=2), expected)
        found = fidelity(logits, expected, np.zeros((40, 3), np.int64))
        hits += found.agreement_low <= 0.7 <= found.agreement_high
    assert 50 <= hits <= 60


CALL = '{"name": "f", "arguments": {"a": 1, "b": [true]}}'
SCHEMA = {"type": "object", "required": ["name", "arguments"]}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ('{"arguments":{"b":[true],"a":1},"name":"f"}', (True, True, True, True)),
        ('{"name":"f","arguments":{"a":2,"b":[true]}}', (False, True, True, False)),
        ('{"name":"f","arguments":{"a":true,"b":[true]}}', (False, True, True, False)),
        ('{"name":"g","arguments":{"a":1,"b":[true]}}', (False, True, False, False)),
        ('{"name":"f"}', (False, False, True, False)),
        ('{"name":"f","arguments":{"a":1,"b":[true]}', (False, False, False, False)),
        ("[1]", (False, False, False, False)),
    ],
)
def test_tool_calls_are_judged_by_their_values(answer: str, verdict: tuple[bool, ...]) -> None:
    found = Judge("tool-call", SCHEMA)(answer, CALL)
    assert (found.exact, found.valid, found.tool, found.arguments) == verdict


def test_json_is_judged_without_tools_and_texts_by_their_characters() -> None:
    found = Judge("json", {"type": "array"})("[1, 2]", "[1,2]")
    assert (found.exact, found.valid, found.tool) == (True, True, None)
    assert Judge("json", {"type": "array"})("{}", "{}").valid is False
    assert Judge("text")(" a b ", "a b") == Judge("text")("a b", "a b")
    assert not Judge("text")("a  b", "a b").exact
    assert Judge("text")("a", "a").valid is None


def test_a_policy_is_what_no_part_of_an_answer_matches() -> None:
    judge = Judge("text", policy=["(?i)secret", r"\d{4}"])
    assert [judge(text, "x").policy for text in ("fine", "a Secret", "in 2024", "123")] == [True, False, False, True]
    assert Judge("text")("x", "x").policy is None


def test_rouge_is_that_of_common_words() -> None:
    found = rouge(["the cat sat", "a b"], ["the cat ran", "a b"])
    assert found == pytest.approx({"rouge1": (2 / 3 + 1) / 2, "rouge2": (1 / 2 + 1) / 2, "rougeL": (2 / 3 + 1) / 2})


def test_mcnemar_is_the_exact_binomial_test_of_the_pairs_that_differ() -> None:
    before, after = [True] * 8 + [False] * 2, [False] * 5 + [True] * 3 + [True, False]
    # Five lost, one won: 2 * (C(6,0) + C(6,1)) / 2^6.
    assert mcnemar(before, after) == pytest.approx(2 * 7 / 64)
    assert mcnemar(before, before) == 1
    assert share(before)["right"] == 8
