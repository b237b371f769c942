"""Prompts and completions as tokens: splits, chat templates, targets, and rows that cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_llm import fields, recipe, write_jsonl

from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError
from edgedistill.tasks import task
from edgedistill.tasks.causal_lm import chat
from edgedistill.tasks.causal_lm.dataset import Completions
from edgedistill.tasks.causal_lm.example import exchange
from edgedistill.tasks.causal_lm.wanted import longest, targets_of, wanted_of

LM = task("causal-lm")


def prepared(folder: Path, **data: object) -> Completions:
    """The dataset of a recipe whose data part has `data`."""
    made = recipe(folder, data={**fields()["data"], **data})
    facts = LM.source(made).prepare(folder / "data", 0)
    found = LM.dataset(made, folder / "data")
    assert isinstance(found, Completions)
    assert found.facts == facts
    return found


def test_a_row_is_a_prompt_and_an_answer_whose_tokens_are_targets(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    said, call = exchange(0)
    prompt, answer = data.prompt(0), data.answer(0)
    assert data.text(prompt) == said
    assert data.text(answer) == call
    assert answer[-1] == data.facts.end
    batch = data.batch(np.array([0]), None)
    tokens, targets, mask = batch.inputs["input_ids"][0], batch.targets["logits"][0], batch.mask["logits"][0]
    assert tokens[: len(prompt)].tolist() == prompt.tolist()
    # The last token of the prompt gives the first of the answer, and the last but one of the answer its end.
    wanted, last = batch.inputs["wanted"][0], len(prompt) + len(answer) - 2
    assert wanted[mask].tolist() == list(range(len(prompt) - 1, last + 1))
    assert (wanted[~mask] == last).all(), "no token behind the end is wanted"
    assert targets[mask].tolist() == answer.tolist()
    assert (targets[~mask] == -1).all()
    assert batch.inputs["positions"][0].tolist() == list(range(88))


def test_rows_of_one_prompt_stay_in_one_split(tmp_path: Path) -> None:
    rows = [{"prompt": f"ask {number % 20}", "completion": f"say {number}"} for number in range(200)]
    data = prepared(tmp_path, source={"jsonl": str(write_jsonl(tmp_path / "rows.jsonl", rows))}, format="text")
    places = {name: {rows[index]["prompt"] for index in indices} for name, indices in data.indices.items()}
    assert not places["train"] & places["val"]
    assert not places["train"] & places["holdout"]
    assert all(places.values())
    assert data.facts.warnings == []


def test_a_split_column_says_where_rows_are_and_prompts_in_two_of_them_are_told(tmp_path: Path) -> None:
    names = ["train", "val", "holdout"]
    rows = [{"prompt": f"ask {n // 3}", "completion": "say", "split": names[n % 3]} for n in range(90)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    data = prepared(tmp_path, source={"jsonl": str(path)}, format="text", split_column="split")
    assert {name: len(indices) for name, indices in data.indices.items()} == {"train": 30, "val": 30, "holdout": 30}
    assert "60 of 60 prompts of val and holdout stand in train too" in data.facts.warnings[0]


def test_fields_are_kept_with_each_row(tmp_path: Path) -> None:
    rows = [{"prompt": f"say {n}", "completion": str(n), "app": ["mail", "maps", None][n % 3]} for n in range(30)]
    data = prepared(tmp_path, source={"jsonl": str(write_jsonl(tmp_path / "rows.jsonl", rows))}, format="text", fields=["app"])
    assert LM.slices(data, np.array([4, 2, 0]))["app"].tolist() == ["maps", "", "mail"]
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="found no column 'shop', expected one of"):
        prepared(tmp_path / "other", source={"jsonl": str(tmp_path / "rows.jsonl")}, format="text", fields=["shop"])
    with pytest.raises(RecipeError, match=r"data.fields.0: found \"tokens\", expected a column of another name"):
        prepared(tmp_path, fields=["tokens"])


def test_conversations_are_written_by_the_template_and_only_the_last_answer_counts(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three?"},
        {"role": "assistant", "content": "Four."},
    ]
    path = write_jsonl(
        tmp_path / "rows.jsonl", [{"talk": [*messages[:-2], {"role": "user", "content": f"{n}?"}, messages[-1]]} for n in range(40)]
    )
    data = prepared(tmp_path, source={"jsonl": str(path)}, format="text", messages="talk")
    made = chat.found(str(tmp_path / "data" / chat.FOLDER))
    written = made.tokenizer.decode(data.prompt(0).tolist())
    assert written == "<|system|>Be brief.<|end|><|user|>One?<|end|><|assistant|>Two.<|end|><|user|>0?<|end|><|assistant|>"
    assert data.text(data.answer(0)) == "Four."


def test_whole_texts_are_taught_without_a_prompt(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"completion": f"text number {n}"} for n in range(60)])
    found = prepared(tmp_path, source={"jsonl": str(path)}, format="text", prompt=None, length=24)
    answer = found.answer(0)
    batch = found.batch(np.array([0]), None)
    # Nothing gives the first token.
    assert batch.targets["logits"][0][batch.mask["logits"][0]].tolist() == answer[1:].tolist()
    assert found.facts.counted == sum(len(found.answer(row)) - 1 for row in found.indices["val"])


def test_rows_that_cannot_be_used_are_named_together(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": " ", "completion": "b"}, {"prompt": "a", "completion": None}] * 2
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"4 row\(s\) cannot be used: row 2: no text in prompt; row 3: no text in completion; row 5"):
        prepared(tmp_path, source={"jsonl": str(path)}, format="text")


def test_answers_to_avoid_are_taught_by_a_target_of_their_own_and_judge_nothing(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"ask {n}", "completion": f"say {n}", "good": ["yes", "bad"][n % 4 == 0] if n == 7 else n % 4 > 0} for n in range(80)
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match="row 8: found 'yes' in good, expected true or false"):
        prepared(tmp_path, source={"jsonl": str(path)}, format="text", good="good")
    rows[7]["good"] = True
    data = prepared(tmp_path, source={"jsonl": str(write_jsonl(path, rows))}, format="text", good="good")
    assert data.avoid.tolist() == [n % 4 == 0 for n in range(80)]
    assert not data.avoid[data.indices["val"]].any()
    assert not data.avoid[data.indices["holdout"]].any()
    followed, avoided = (next(n for n in data.indices["train"] if bool(data.avoid[n]) == bad) for bad in (False, True))
    batch = data.batch(np.array([followed, avoided]), 0)
    for row, (index, name) in enumerate(((followed, "logits"), (avoided, "avoid"))):
        for target in ("logits", "avoid"):
            values = batch.targets[target][row]
            assert values[values >= 0].tolist() == (data.answer(index).tolist() if target == name else [])
    assert not batch.mask["logits"][1].any()


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        ("hello", "no JSON"),
        (json.dumps([{"role": "user", "content": "x"}]), "expected a list of"),
        (json.dumps([{"role": "assistant", "content": "x"}, {"role": "user", "content": "x"}]), "the last message is by user"),
        (json.dumps([{"role": "user"}, {"role": "assistant", "content": "x"}]), "expected a list of"),
    ],
)
def test_what_is_no_conversation_is_told(tmp_path: Path, talk: str, said: str) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"talk": talk}] * 3)
    with pytest.raises(UserError, match=said):
        prepared(tmp_path, source={"jsonl": str(path)}, format="text", messages="talk")


def test_a_prompt_that_leaves_no_room_is_refused_and_a_long_answer_is_cut(tmp_path: Path) -> None:
    rows = [{"prompt": f"{n} {'word ' * (60 if n == 3 else 1)}", "completion": "long " * (60 if n == 5 else 1)} for n in range(40)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"row 4: its prompt has \d+ tokens, expected fewer than data.length, 24"):
        prepared(tmp_path, source={"jsonl": str(path)}, format="text", length=24)
    data = prepared(tmp_path, source={"jsonl": str(write_jsonl(path, [rows[n] for n in range(40) if n != 3]))}, format="text", length=24)
    assert data.counts.max() == 24
    assert "1 of 39 rows have 24 tokens or more and may be cut" in data.facts.warnings[0]


def test_targets_are_the_tokens_behind() -> None:
    tokens, prompts, counts = np.arange(10, 18)[None].repeat(4, axis=0), np.array([3, 0, 0, 7]), np.array([6, 3, 1, 8])
    wanted = wanted_of(prompts, counts, longest(prompts, counts))
    assert wanted.tolist() == [[2, 3, 4], [0, 1, 1], [0, 0, 0], [6, 6, 6]]
    assert targets_of(tokens, wanted, prompts, counts).tolist() == [[13, 14, 15], [11, 12, -1], [-1, -1, -1], [17, -1, -1]]
    assert longest(prompts[3:], counts[3:]) == 2, "a program that was traced with one place takes one only"


def test_what_is_judged_has_places_for_its_own_longest_answer(tmp_path: Path) -> None:
    splits = ["train", "val", "holdout"]
    rows = [{"prompt": "a", "completion": "b " * (20 if n == 3 else 5 if n == 5 else 2), "split": splits[n % 3]} for n in range(30)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    data = prepared(tmp_path, source={"jsonl": str(path)}, format="text", split_column="split")
    rooms = {name: data.inputs(indices)["wanted"].shape[1] for name, indices in data.indices.items()}
    assert rooms["train"] == len(data.answer(3))
    assert rooms["val"] == rooms["holdout"] == len(data.answer(5)) == data.facts.sizes["wanted"] < rooms["train"]
    for indices in data.indices.values():
        assert data.targets(indices)["logits"].shape == data.inputs(indices)["wanted"].shape


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())).save_pretrained(str(tmp_path / "tok"))
    with pytest.raises(UserError, match="no eos_token, which ends an answer"):
        chat.found(str(tmp_path / "tok"))
    with pytest.raises(UserError, match="found no tokenizer in"):
        chat.found(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"format": "text", "json_schema": {"type": "object"}}, "expected format: json or tool-call beside json_schema"),
        ({"source": {"example": "poems"}}, "'tool-calls'"),
    ],
)
def test_mistakes_in_the_data_part_are_told(tmp_path: Path, data: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe(tmp_path, data={**fields()["data"], **data})


def test_what_is_no_schema_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.json_schema: found no JSON Schema \(type: 'thing'"):
        prepared(tmp_path, json_schema={"type": "thing"})
    path = tmp_path / "schema.json"
    path.write_text("{")
    with pytest.raises(UserError, match=r"data.json_schema: "):
        prepared(tmp_path, json_schema=str(path))


def test_tool_calls_have_a_schema_of_their_own_and_are_slices_by_their_tools(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    assert LM.slices(data, np.array([1, 0]))["tool"].tolist() == ["set_volume", "send_message"]
    judge = data.judge
    assert judge.valid('{"name": "f", "arguments": {}}')
    assert not judge.valid('{"name": "f"}')
    assert not judge.valid('{"name": "f", "arguments": {}, "more": 1}')


def test_the_example_is_the_same_each_time() -> None:
    assert [exchange(n) for n in (0, 1)] == [
        ("text Sami that see you soon", '{"name":"send_message","arguments":{"contact":"Sami","text":"see you soon"}}'),
        ("ok, volume to 20", '{"name":"set_volume","arguments":{"level":20}}'),
    ]
    assert all(json.loads(exchange(n)[1])["name"] for n in range(300))
