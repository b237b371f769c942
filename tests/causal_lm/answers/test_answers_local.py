"""A model of transformers on this machine that writes answers."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_decoder import SPECIAL, save_decoder

from edgedistill.errors import UserError
from edgedistill.tasks.causal_lm.answers.asking import Prompt
from edgedistill.tasks.causal_lm.answers.local import LocalAsker
from edgedistill.tasks.causal_lm.answers.recipe import Sampling

PROMPTS = [Prompt(text="the quick brown fox"), Prompt(text="a"), Prompt(text="jumps over"), Prompt(text="the lazy dog, and over the cat")]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = save_decoder(tmp_path_factory.mktemp("decoder"))
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def ask(decoder: Any, prompts: list[Prompt], sampling: Sampling, batch_size: int = 8, **more: Any) -> dict[tuple[str, int], Any]:
    answers = LocalAsker(*decoder, "tiny", batch_size).ask(prompts, sampling, **more)
    return {(answer.key, answer.sample): answer for answer in answers}


def test_samples_do_not_depend_on_their_batch(decoder: Any) -> None:
    sampling = Sampling(samples=3, max_tokens=24, top_p=0.9)
    together = ask(decoder, PROMPTS, sampling, batch_size=12)
    assert len(together) == 12
    for others in (ask(decoder, PROMPTS[::-1], sampling, batch_size=1), ask(decoder, PROMPTS, sampling, batch_size=5)):
        assert {place: answer.text for place, answer in others.items()} == {place: answer.text for place, answer in together.items()}
    # Samples of a prompt differ, and with another seed all do.
    assert len({answer.text for answer in together.values()}) == 12
    other = ask(decoder, PROMPTS, Sampling(samples=3, max_tokens=24, top_p=0.9, seed=1))
    assert all(other[place].text != answer.text for place, answer in together.items())


def test_greedy_answers_are_those_of_the_model_alone(decoder: Any) -> None:
    import torch

    model, tokenizer = decoder
    answers = ask(decoder, PROMPTS, Sampling(temperature=0, max_tokens=24))
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer(prompt.text)["input_ids"]])
        for _ in range(24):
            token = model(ids).logits[0, -1].argmax()
            if token == tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, token.view(1, 1)], dim=1)
        expected = tokenizer.decode(ids[0, len(tokenizer(prompt.text)["input_ids"]) :], skip_special_tokens=True)
        assert answers[prompt.key, 0].text == expected


def test_draws_follow_the_distribution_of_the_model(decoder: Any) -> None:
    import torch

    model, tokenizer = decoder
    count = 4000
    prompt = Prompt(text="a")
    for temperature, top_p in ((0.7, 1.0), (1.0, 0.6)):
        sampling = Sampling(samples=1024, max_tokens=1, temperature=temperature, top_p=top_p)
        answers = []
        for seed in range(4):
            answers += LocalAsker(*decoder, "tiny", 512).ask([prompt], sampling.model_copy(update={"seed": seed}))
        logits = model(torch.tensor([tokenizer("a")["input_ids"]])).logits[0, -1].double()
        probabilities = torch.softmax(logits / temperature, -1).detach().numpy()
        order = probabilities.argsort()[::-1]
        nucleus = order[: int(np.searchsorted(probabilities[order].cumsum(), top_p)) + 1]
        expected = np.zeros_like(probabilities)
        expected[nucleus] = probabilities[nucleus] / probabilities[nucleus].sum()
        drawn = Counter(answer.text for answer in answers)
        names = [tokenizer.decode([number], skip_special_tokens=True) for number in range(len(expected))]
        # Special tokens are no text; all of them are one empty answer.
        by_name = Counter[str]()
        for name, share in zip(names, expected, strict=True):
            by_name[name] += share
        assert set(drawn) <= {name for name, share in by_name.items() if share > 0}
        deviations = [abs(drawn[name] / len(answers) - share) / (share / len(answers)) ** 0.5 for name, share in by_name.items() if share]
        assert max(deviations) < 4.5
        assert len(answers) > count


def test_the_end_its_reason_and_the_tokens(decoder: Any) -> None:
    answers = ask(decoder, PROMPTS, Sampling(samples=8, max_tokens=60)).values()
    reasons = Counter(answer.finish_reason for answer in answers)
    assert reasons["stop"] > 3
    assert reasons["length"] > 3
    for answer in answers:
        assert not any(special in answer.text for special in SPECIAL)
        assert answer.usage.prompt == next(len(prompt.text or "") for prompt in PROMPTS if prompt.key == answer.key)
        # A token is a character or a special token.
        if answer.finish_reason == "length":
            assert answer.usage.completion == 60
        else:
            assert answer.usage.completion is not None
            assert len(answer.text) + 1 <= answer.usage.completion < 60


def test_stop_texts_end_an_answer_of_any_row(decoder: Any) -> None:
    free = ask(decoder, PROMPTS, Sampling(samples=2, max_tokens=40))
    stops = [next(answer.text[5:7] for answer in free.values() if len(answer.text) > 9), "e"]
    stopped = ask(decoder, PROMPTS, Sampling(samples=2, max_tokens=40, stop=stops))
    cut = 0
    for place, answer in stopped.items():
        expected = re.split("|".join(map(re.escape, stops)), free[place].text)[0]
        assert answer.text == expected
        if expected != free[place].text:
            cut += 1
            assert answer.finish_reason == "stop"
            assert answer.usage.completion < free[place].usage.completion or free[place].text.endswith(tuple(stops))
    assert cut > 2


def test_chats_and_what_is_answered_already(decoder: Any) -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    chat = Prompt(messages=messages)
    written = Prompt(text="<|system|>be brief<|end|><|user|>hello<|end|><|assistant|>")
    answers = ask(decoder, [chat, written], Sampling(temperature=0, max_tokens=12))
    assert answers[chat.key, 0].text == answers[written.key, 0].text
    assert answers[chat.key, 0].usage.prompt == 18
    assert set(ask(decoder, [chat, written], Sampling(samples=2, max_tokens=4), answered={(chat.key, 0), (written.key, 1)})) == {
        (chat.key, 1), (written.key, 0),
    }  # fmt: skip


def test_prompts_that_can_not_be_answered(decoder: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    with pytest.raises(
        UserError, match=r"answers.sampling.max_tokens: .* has 200 tokens, and with 60 .* more than the 256 that tiny takes"
    ):
        ask(decoder, [Prompt(text="a" * 200)], Sampling(max_tokens=60))
    with pytest.raises(UserError, match="has no token; leave it out"):
        ask(decoder, [Prompt(text="")], Sampling())
    plain = AutoTokenizer.from_pretrained(save_decoder(tmp_path, template=False))
    with pytest.raises(UserError, match="has no chat template"):
        ask((decoder[0], plain), [Prompt(messages=[{"role": "user", "content": "hello"}])], Sampling())
