"""Teachers whose tokenizer is not that of the data: sorted probabilities of the same answers, and a refusal of all else."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import edgedistill
from made_llm import TINY, fields, recipe

from edgedistill.distill.criterion import Criterion
from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError
from edgedistill.tasks import task
from edgedistill.tasks.causal_lm import chat
from edgedistill.tasks.causal_lm.dataset import Completions
from edgedistill.tasks.causal_lm.recipe import TrainedBytes

LM = task("causal-lm")
ULD = {"stages": [{"name": "finetune", "epochs": 1, "losses": {"ce": {}, "uld": {"weight": 0.5}}}], "control": False}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama with a tokenizer of its own."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("teacher")
    made = chat.trained(TrainedBytes(vocabulary=400), ["set a timer for 20 minutes", "call Anna", "weather in Paris"] * 9)
    torch.manual_seed(0)
    sizes = {key: value for key, value in TINY.items() if key != "model_type"}
    config = LlamaConfig(vocab_size=made.vocabulary, initializer_range=0.3, max_position_embeddings=256, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    made.save(folder)
    return folder


def prepared(folder: Path, **more: Any) -> tuple[Any, Completions]:
    """A recipe with its rows."""
    made = recipe(folder, **more)
    LM.source(made).prepare(folder / "data", 0)
    data = LM.dataset(made, folder / "data")
    assert isinstance(data, Completions)
    return made, data


def test_logits_of_two_vocabularies_are_refused_by_both_names(tmp_path: Path, teacher: Path) -> None:
    made, data = prepared(tmp_path, teacher={"hf": str(teacher)})
    named = rf"{teacher.name} has a vocabulary of 3\d\d tokens, and data.tokenizer another one of {data.facts.vocabulary}, .* uld"
    with pytest.raises(UserError, match=named):
        LM.build(made.teacher, made, data.facts)
    # With the tokenizer of the teacher they are of one.
    (tmp_path / "own").mkdir()
    made, data = prepared(tmp_path / "own", teacher={"hf": str(teacher)}, data={**fields()["data"], "tokenizer": None, "length": 128})
    assert LM.build(made.teacher, made, data.facts).model.config.vocab_size == data.facts.vocabulary


def test_a_teacher_tells_sorted_probabilities_at_the_students_places(tmp_path: Path, teacher: Path) -> None:
    made, data = prepared(tmp_path, teacher={"hf": str(teacher)}, distill=ULD)
    batch = data.batch(data.indices["train"][:3], 0)
    told = LM.teacher(made.teacher, made, data, None, ["sorted"])(batch.inputs)["sorted"]
    decoder = LM.build(made.teacher, made, data.facts)
    own = chat.found(str(teacher))
    for row, index in enumerate(data.indices["train"][:3]):
        exchange = list(LM.source(made).exchanges())[index]
        prompt, answer = own.prompts([exchange.messages])[0], own.completions([exchange.answer])[0]
        tokens = torch.tensor([[*prompt, *answer]], dtype=torch.int32)
        with torch.no_grad():
            places = torch.arange(tokens.shape[1], dtype=torch.int32)[None]
            logits = decoder(tokens, places, places)[0]
        expected = logits.softmax(dim=1).sort(dim=1, descending=True).values[:, : told.shape[2]]
        count = min(len(answer), len(data.answer(index)))
        torch.testing.assert_close(told[row, :count], expected[len(prompt) - 1 : len(prompt) - 1 + count], rtol=1e-4, atol=1e-5)
        assert not told[row, count:].any()


def test_the_student_learns_by_it(tmp_path: Path, teacher: Path) -> None:
    made, data = prepared(tmp_path, teacher={"hf": str(teacher)}, distill=ULD)
    batch = data.batch(data.indices["train"][:4], 0)
    signals = LM.teacher(made.teacher, made, data, None, ["sorted"])(batch.inputs)
    student = LM.build(made.student, made, data.facts).train()
    losses = made.distill.stages[0].losses
    outputs = {"logits": student(*(batch.inputs[name] for name in ("input_ids", "positions", "wanted")))}
    loss, values = Criterion([losses], {}, {}, len(data))(losses, outputs, batch, signals)
    loss.backward()
    assert values["uld"] > 0
    assert all(value.grad is not None and value.grad.isfinite().all() for value in student.parameters())
    # Places without a word of the teacher count nothing.
    silent = {"sorted": torch.zeros_like(signals["sorted"])}
    assert Criterion([losses], {}, {}, len(data))(losses, outputs, batch, silent)[1]["uld"] == 0


def test_such_a_teacher_is_not_scored(tmp_path: Path, teacher: Path) -> None:
    made, _ = prepared(tmp_path, teacher={"hf": str(teacher)}, distill=ULD)
    assert not LM.tells(made.teacher, made)
    assert LM.tells(made.teacher, recipe(tmp_path, teacher={"hf": str(teacher)}))


@pytest.mark.parametrize(
    "parts",
    [
        {"teacher": {"config": TINY}},
        {"distill": {"stages": [{"name": "finetune", "losses": {"kd": {}, "uld": {}}}]}},
        {"teacher": {"hf": "somewhere", "train": {}}},
    ],
)
def test_uld_stands_with_a_teacher_that_is_taken_as_it_is(tmp_path: Path, teacher: Path, parts: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"expected teacher\.hf with train: null, and no other loss"):
        recipe(tmp_path, **{"teacher": {"hf": str(teacher)}, "distill": ULD, **parts})


@pytest.mark.slow
def test_a_run_without_outputs_of_its_teacher_ends_with_a_summary(tmp_path: Path, teacher: Path) -> None:
    data = {**fields()["data"], "source": {"example": "tool-calls", "rows": 120}}
    (tmp_path / "uld.yaml").write_text(yaml.safe_dump(fields(name="uld", teacher={"hf": str(teacher)}, distill=ULD, data=data)))
    done = edgedistill("distill", "uld.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs/uld/summary.json").read_text())
    assert [rung["rung"] for rung in summary["ladder"]] == ["student"]
