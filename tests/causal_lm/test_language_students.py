"""Decoders of a recipe: new, cut from a teacher, with low-rank matrices; and the answers that they draw."""

from pathlib import Path

import numpy as np
import pytest
import torch
from made_llm import TINY, fields, recipe
from pydantic import ValidationError
from safetensors.torch import save_file

from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.schema import Recipe
from edgedistill.steps.teach import signal_facts
from edgedistill.tasks import task
from edgedistill.tasks.causal_lm import chat
from edgedistill.tasks.causal_lm.answering import write
from edgedistill.tasks.causal_lm.dataset import Completions
from edgedistill.tasks.causal_lm.decoder import Decoder
from edgedistill.tasks.causal_lm.own import own_answers, written
from edgedistill.teach.cache import cache_folder

LM = task("causal-lm")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Completions:
    """The rows of the tiny recipe."""
    folder = tmp_path_factory.mktemp("rows")
    made = recipe(folder)
    LM.source(made).prepare(folder / "data", 0)
    found = LM.dataset(made, folder / "data")
    assert isinstance(found, Completions)
    return found


@pytest.fixture(scope="module")
def teacher(data: Completions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a llama with the tokenizer of the rows."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    sizes = {key: value for key, value in TINY.items() if key != "model_type"}
    config = LlamaConfig(vocab_size=data.facts.vocabulary, initializer_range=0.3, max_position_embeddings=128, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    chat.found(str(data.folder / chat.FOLDER)).save(folder)
    return folder


def built(made: Recipe, data: Completions, weights: Path | None = None) -> Decoder:
    """The student of a recipe."""
    module = LM.build(made.student, made, data.facts, weights)
    assert isinstance(module, Decoder)
    return module


def logits(module: Decoder, data: Completions) -> torch.Tensor:
    """Those of two rows."""
    batch = data.batch(data.indices["val"][:2], None)
    with torch.no_grad():
        return module(**batch.inputs)


def test_a_student_may_start_as_some_layers_of_the_teacher(tmp_path: Path, data: Completions, teacher: Path) -> None:
    made = recipe(tmp_path, teacher={"hf": str(teacher)}, student={"cut": {"layers": [1]}})
    module, whole = built(made, data), LM.build(made.teacher, made, data.facts)
    ours, theirs = module.model.state_dict(), whole.model.state_dict()
    assert torch.equal(ours["model.layers.0.mlp.up_proj.weight"], theirs["model.layers.1.mlp.up_proj.weight"])
    assert torch.equal(ours["lm_head.weight"], theirs["lm_head.weight"])
    assert len(module.model.model.layers) == 1


def test_low_rank_matrices_alone_are_trained_and_are_merged_into_what_is_saved(tmp_path: Path, data: Completions, teacher: Path) -> None:
    pytest.importorskip("peft")
    made = recipe(tmp_path, teacher={"hf": str(teacher)}, student={"hf": str(teacher), "lora": {"rank": 2}})
    module, before = built(made, data), logits(LM.build(made.teacher, made, data.facts), data)
    trained = {name for name, value in module.named_parameters() if value.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    # New matrices change nothing.
    assert torch.allclose(logits(module, data), before, atol=1e-5)
    with torch.no_grad():
        for name, value in module.named_parameters():
            if name in trained:
                value.normal_(std=0.3)
    after = logits(module, data)
    assert not torch.allclose(after, before, atol=1e-2)
    tensors = {name: value.clone().contiguous() for name, value in LM.core(module).state_dict().items()}
    assert not any("lora" in name for name in tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    again = built(made, data, tmp_path / "model.safetensors")
    torch.testing.assert_close(logits(again, data), after, rtol=1e-3, atol=1e-3)
    assert all(value.requires_grad for value in again.parameters())


def test_layers_that_a_model_has_not_get_no_matrices(tmp_path: Path, data: Completions, teacher: Path) -> None:
    pytest.importorskip("peft")
    made = recipe(tmp_path, teacher={"hf": str(teacher)}, student={"hf": str(teacher), "lora": {"layers": ["wq"]}})
    with pytest.raises(UserError, match=r"student.lora.layers: .*wq"):
        built(made, data)


def test_own_answers_begin_behind_the_prompt_and_count(tmp_path: Path, data: Completions) -> None:
    module = built(recipe(tmp_path), data)
    module.train()
    torch.manual_seed(0)
    batch = data.batch(data.indices["train"][:6], 0)
    drawn = own_answers(module, batch, data)
    assert module.training
    for row, index in enumerate(data.indices["train"][:6]):
        prompt = data.prompt(index)
        tokens, mask, wanted = (part[row] for part in (drawn.inputs["input_ids"], drawn.mask["logits"], drawn.inputs["wanted"]))
        assert tokens[: len(prompt)].tolist() == prompt.tolist()
        places = wanted[mask].long()
        assert places[0] == len(prompt) - 1
        answer = tokens[places + 1]
        ends = (answer == data.facts.end).nonzero()
        # It ends by its end, or where there is no more room.
        assert (len(ends) == 1 and int(ends[0]) == len(answer) - 1) or int(places[-1]) == 86
    assert (drawn.targets["logits"] == -1).all()
    # What is drawn from random weights is no tool call.
    avoid = drawn.targets["avoid"]
    assert torch.equal(avoid >= 0, drawn.mask["logits"])
    behind = drawn.inputs["input_ids"].gather(1, drawn.inputs["wanted"].long() + 1)
    assert torch.equal(avoid[avoid >= 0], behind[avoid >= 0].long())
    assert not torch.equal(own_answers(module, batch, data).inputs["input_ids"], drawn.inputs["input_ids"])
    torch.manual_seed(0)
    assert torch.equal(own_answers(module, batch, data).inputs["input_ids"], drawn.inputs["input_ids"])


def test_the_likeliest_answer_is_what_single_prompts_get_one_token_after_the_other(tmp_path: Path, data: Completions) -> None:
    module = built(recipe(tmp_path, student={"config": {**TINY, "initializer_range": 0.5}}), data)
    prompts = [torch.from_numpy(data.prompt(index)) for index in data.indices["val"][:4]]
    answers = written(module, prompts, 60, data.facts.end, sample=False)
    for prompt, answer in zip(prompts, answers, strict=True):
        row = prompt.tolist()
        while len(row) < 60:
            tokens = torch.tensor([row], dtype=torch.int32)
            with torch.no_grad():
                places = torch.arange(len(row), dtype=torch.int32)[None]
                given = module(tokens, places, places[:, -1:])
            row.append(int(given[0, -1].argmax()))
            if row[-1] == data.facts.end:
                break
        assert answer.tolist() == row[len(prompt) :]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"student": {"cut": {"layers": 1}}}, "expected teacher.hf beside student.cut"),
        ({"distill": None, "teacher": None}, "expected student.hf beside distill: null"),
        ({"distill": {"stages": [{"name": "finetune"}, {"name": "qat", "precision": "int8"}]}}, "found int8"),
        ({"distill": {"stages": [{"name": "finetune", "on_policy": 0.5}]}}, "expected online: true beside on_policy"),
        ({"distill": {"stages": [{"name": "finetune", "online": True, "on_policy": 0.5, "losses": {"ce": {}}}]}}, "found none"),
        (
            {"distill": {"stages": [{"name": "finetune", "losses": {"ce": {}, "avoid": {}}}]}},
            "found the loss avoid in stage finetune without",
        ),
    ],
)
def test_parts_that_do_not_fit_each_other_are_told(tmp_path: Path, parts: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe(tmp_path, **parts)


def test_only_tasks_that_write_take_on_policy_stages() -> None:
    stage = {"name": "align", "online": True, "on_policy": 0.5, "losses": {"kd": {}}}
    with pytest.raises(ValidationError, match="models of this task write no answers"):
        Recipe.model_validate({"name": "x", "task": "image-classification", "distill": {"stages": [stage]}})


def test_the_rows_of_a_batch_do_not_change_by_what_fills_them_up(tmp_path: Path, data: Completions) -> None:
    module = built(recipe(tmp_path), data)
    row = data.indices["val"][0]
    inputs = data.inputs(np.array([row]))
    given = {name: torch.from_numpy(values) for name, values in inputs.items()}
    short = {name: values if name == "wanted" else values[:, : int(data.counts[row])] for name, values in given.items()}
    with torch.no_grad():
        assert torch.allclose(module(**short), module(**given), atol=1e-5)


def test_signals_are_those_of_the_wanted_places(tmp_path: Path, data: Completions) -> None:
    module, layer = built(recipe(tmp_path), data), "features:model.layers.0"
    batch = data.batch(data.indices["train"][:3], 0)
    taps = LM.taps(module, LM.signature(recipe(tmp_path), data.facts), [layer, "logits"])
    with torch.no_grad():
        given = taps(batch.inputs)
        every = {**batch.inputs, "wanted": batch.inputs["positions"]}
        whole = taps(every)
    wanted = batch.inputs["wanted"].long()
    for name in (layer, "logits"):
        assert given[name].shape[:2] == wanted.shape
        expected = torch.stack([values[places] for values, places in zip(whole[name], wanted, strict=True)])
        assert torch.allclose(given[name], expected, atol=1e-5)


def test_a_teacher_writes_what_greedy_decoding_gives(tmp_path: Path, data: Completions) -> None:
    answers = {"sampling": {"temperature": 0.0}, "checks": {"cut_off": True, "duplicates": 1}}
    teacher = {"config": {**TINY, "initializer_range": 0.5}, "train": {}, "answers": answers}
    made = recipe(tmp_path, teacher=teacher, data={**fields()["data"], "format": "text"})
    rows = LM.dataset(made, data.folder)
    assert isinstance(rows, Completions)
    module = LM.build(made.teacher, made, rows.facts)
    counts = write(made, LM.source(made), rows, module, "a teacher", tmp_path / "answers", tmp_path / "cache")
    taught = LM.dataset(made, tmp_path / "answers")
    assert isinstance(taught, Completions)
    assert counts.kept > 0
    longest = int(rows.prompts[rows.indices["train"]].max())
    decoder = LM.build(made.teacher, made, rows.facts)
    for row in range(len(rows), len(taught), 20):
        prompt = torch.from_numpy(taught.prompt(row))
        (expected,) = written(decoder, [prompt], len(prompt) + 88 - longest, rows.facts.end, sample=False)
        # Bytes that are no text do not survive being read again, so the beginning is compared.
        assert taught.text(taught.answer(row))[:6] == rows.text(expected.numpy())[:6]


def test_signals_of_other_weights_and_other_rows_are_others(tmp_path: Path, data: Completions) -> None:
    made = recipe(tmp_path)
    facts = [signal_facts(made.teacher, *both, made, data) for both in (("a", "x"), ("b", "x"), ("a", "y"), ("a", "x"))]
    folders = [cache_folder(tmp_path, each) for each in facts]
    assert len(set(folders[:3])) == 3
    assert folders[3] == folders[0]
