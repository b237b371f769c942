"""Writing by a decoder: the texts of transformers, where they end, how tokens are drawn, and JSON by a schema."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from made_decoders import LENGTH, VOCABULARY, decoder

from edgedistill.errors import UserError
from edgedistill.tasks.causal_lm import cached
from edgedistill.tasks.causal_lm.generation import Forward, generate, sampling

PROMPT = np.array([5, 250, 17, 9], np.int32)


class Called:
    """The forward function of a module, which counts its calls."""

    def __init__(self, module: Any) -> None:
        self.module, self.sizes = module, list[int]()

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.sizes.append(arrays["input_ids"].shape[1])
        with torch.no_grad():
            return {"logits": self.module(*(torch.from_numpy(arrays[name]) for name in ("input_ids", "positions", "wanted"))).numpy()}


@pytest.fixture(scope="module")
def own() -> Any:
    return decoder()


@pytest.fixture
def forward(own: Any) -> Called:
    return Called(cached.deployed(own, LENGTH))


def test_the_greedy_text_is_that_of_transformers(own: Any, forward: Called) -> None:
    found = generate(forward, PROMPT, limit=30)
    own.model.set_attn_implementation("eager")
    expected = own.model.generate(torch.from_numpy(PROMPT)[None].long(), max_new_tokens=30, do_sample=False, pad_token_id=0)[0]
    with torch.no_grad():
        logprobs = own.model(expected[None]).logits[0].double().log_softmax(-1)
    own.model.set_attn_implementation("edgedistill")
    assert found.tokens == expected[len(PROMPT) :].tolist()
    assert len(set(found.tokens)) > 10, "a constant text proves nothing"
    places = range(len(PROMPT) - 1, len(expected) - 1)
    assert found.logprobs == pytest.approx([float(logprobs[place, expected[place + 1]]) for place in places], abs=1e-4)
    assert forward.sizes == [len(PROMPT)] + [1] * 29
    assert len(found.times_s) == 29
    assert found.ttft_s > 0 < min(found.times_s)


@pytest.mark.parametrize(("piece", "sizes"), [(3, [3, 1]), (2, [2, 2]), (9, [4])])
def test_a_prompt_in_pieces_gives_the_same_text(own: Any, forward: Called, piece: int, sizes: list[int]) -> None:
    found = generate(forward, PROMPT, limit=12, length=LENGTH, piece=piece)
    assert forward.sizes == sizes + [1] * 11
    assert found.tokens == generate(Called(cached.deployed(own, LENGTH)), PROMPT, limit=12).tokens
    assert len(found.times_s) == 11


def test_a_text_ends_at_a_stop_token_the_limit_or_the_end_of_the_cache(forward: Called) -> None:
    tokens = generate(forward, PROMPT, limit=30).tokens
    stop = next(token for token in tokens if tokens.index(token) > 3)
    assert generate(forward, PROMPT, limit=30, stop={stop, VOCABULARY - 1}).tokens == tokens[: tokens.index(stop) + 1]
    assert generate(forward, PROMPT, limit=3).tokens == tokens[:3]
    assert generate(forward, PROMPT, limit=0).tokens == []
    full = generate(forward, PROMPT, limit=1000, length=LENGTH)
    assert len(PROMPT) + len(full.tokens) == LENGTH + 1, "the last token needs no place"
    assert len(generate(forward, np.resize(PROMPT, LENGTH), limit=9, length=LENGTH).tokens) == 1


@pytest.mark.parametrize("prompt", [np.zeros(0, np.int32), np.zeros((1, 3), np.int32), np.zeros(LENGTH + 1, np.int32)])
def test_prompts_that_do_not_fit_are_refused(forward: Called, prompt: np.ndarray) -> None:
    with pytest.raises(ValueError, match=f"T > 0 and at most {LENGTH}"):
        generate(forward, prompt, limit=3, length=LENGTH)


def constant(logits: np.ndarray) -> Forward:
    return lambda arrays: {"logits": np.broadcast_to(logits, (1, arrays["wanted"].shape[1], len(logits)))}


def test_tokens_are_drawn_by_their_probabilities() -> None:
    probabilities = np.array([0.5, 0.3, 0.15, 0.05])
    forward = constant(np.log(probabilities).astype(np.float32) + 3)
    drawn = generate(forward, PROMPT, limit=4000, choose=sampling(seed=1))
    assert np.bincount(drawn.tokens) / 4000 == pytest.approx(probabilities, abs=0.03)
    assert drawn.logprobs == pytest.approx(np.log(probabilities)[drawn.tokens].tolist(), abs=1e-6)
    cold = generate(forward, PROMPT, limit=4000, choose=sampling(seed=1, temperature=0.5)).tokens
    assert np.bincount(cold) / 4000 == pytest.approx(probabilities**2 / (probabilities**2).sum(), abs=0.03)
    nucleus = generate(forward, PROMPT, limit=4000, choose=sampling(seed=1, top_p=0.75)).tokens
    assert np.bincount(nucleus) / 4000 == pytest.approx([0.625, 0.375], abs=0.03)
    again = [generate(forward, PROMPT, limit=50, choose=sampling(seed)).tokens for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]
    with pytest.raises(ValueError, match="expected a temperature above 0"):
        sampling(1, temperature=0)


def test_a_mask_allows_tokens() -> None:
    forward = constant(np.array([0, 1, 2, 3], np.float32))
    seen: list[list[int]] = []

    def mask(tokens: Any) -> np.ndarray:
        seen.append([*tokens])
        return np.arange(4) == len(tokens) % 3

    found = generate(forward, PROMPT, limit=5, mask=mask)
    assert found.tokens == [0, 1, 2, 0, 1]
    assert seen == [[], [0], [0, 1], [0, 1, 2], [0, 1, 2, 0]]
    assert found.logprobs[0] == pytest.approx(-np.log(np.exp([0, 1, 2, 3]).sum())), "the model's own probability"
    with pytest.raises(ValueError, match="0 allowed tokens"):
        generate(forward, PROMPT, limit=1, mask=lambda _: np.zeros(4, bool))


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "kind": {"enum": ["a", "b"]},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}
STOP, LOGITS = 0, 400
"""There are more logits than tokens."""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<end>"], initial_alphabet=alphabet)
    made.train_from_iterator([json.dumps({"name": "Ann", "age": 31, "kind": "a"})] * 9, trainer)
    made.enable_truncation(2)
    return made


def test_texts_fit_a_schema_whatever_the_logits_are(tokenizer: Any) -> None:
    pytest.importorskip("llguidance")
    from jsonschema import validate

    from edgedistill.tasks.causal_lm.structured import Grammar

    grammar = Grammar(SCHEMA, tokenizer.to_str(), vocabulary=LOGITS, stop={STOP})
    for seed in range(10):
        random = np.random.default_rng(seed)

        def forward(arrays: Any, random: Any = random) -> Any:
            return {"logits": random.normal(0, 3, (1, arrays["wanted"].shape[1], LOGITS)).astype(np.float32)}

        found = generate(forward, PROMPT, limit=200, stop={STOP}, choose=sampling(seed), mask=grammar.mask())
        assert found.tokens[-1] == STOP
        text = tokenizer.decode(found.tokens[:-1])
        validate(json.loads(text), SCHEMA)
        assert text.startswith('{"name":"'), "no white space"


def test_what_cannot_be_followed_is_refused(tokenizer: Any) -> None:
    pytest.importorskip("llguidance")
    from edgedistill.tasks.causal_lm.structured import Grammar

    with pytest.raises(UserError, match="found a JSON Schema that cannot be followed while writing"):
        Grammar({"type": "nothing"}, tokenizer.to_str(), vocabulary=LOGITS, stop={STOP})
    mask = Grammar(SCHEMA, tokenizer.to_str(), vocabulary=LOGITS, stop={STOP}).mask()
    allowed = mask([])
    assert allowed.shape == (LOGITS,)
    assert {tokenizer.id_to_token(int(token))[0] for token in np.flatnonzero(allowed)} == {"{"}
    with pytest.raises(ValueError, match="which the schema does not allow here"):
        mask([STOP])
