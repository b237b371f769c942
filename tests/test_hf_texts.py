"""`export --model hf:FOLDER` of models of texts: they say task, labels, pooling and tokenizer themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import edgedistill
from made_texts import WORDS, save_encoder, texts, write_jsonl

from edgedistill.errors import UserError
from edgedistill.tasks import hub_models
from edgedistill.tasks.text.hub_model import data_of
from edgedistill.tasks.user_model import UserModel, recipe_of

LABELS = ["tool", "fruit", "animal"]
"""In the order of the outputs, which is not that of the alphabet."""
MODULES = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
TARGET = "name: two\ndescription: Two files.\nminimum_os: any\nglue: [python]\nartifacts:\n"
TARGET += "  - {format: onnx, precision: fp32}\n  - {format: onnx, precision: int8-dynamic}\n"


def classifier(folder: Path, **config: Any) -> Path:
    """A folder with a small classifier, whose logits depend on its text, and its tokenizer."""
    save_encoder(folder, layers=1)
    names = dict(enumerate(LABELS))
    torch.manual_seed(3)
    options = {"id2label": names, "label2id": {name: number for number, name in names.items()}, **config}
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, **options)
    model.classifier.weight.data.normal_(0, 1)
    model.save_pretrained(folder)
    return folder


def embedder(folder: Path, pooling: str = "mean_tokens", length: int = 24) -> Path:
    """A small sentence encoder as sentence-transformers writes it."""
    save_encoder(folder, layers=1)
    listed = [{"idx": n, "path": path, "type": f"sentence_transformers.models.{kind}"} for n, (path, kind) in enumerate(MODULES)]
    (folder / "1_Pooling").mkdir()
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "1_Pooling/config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length}))
    return folder


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "texts.jsonl", [{"text": row["text"]} for row in texts(60)])


def test_a_classifier_says_labels_tokenizer_and_length(tmp_path: Path, table: Path) -> None:
    folder = classifier(tmp_path / "model")
    recipe = recipe_of(UserModel(f"hf:{folder}", table), ["text-linux"]).recipe
    assert (recipe.task, recipe.name, recipe.student.hf) == ("text-classification", "model", str(folder))
    assert (recipe.data.classes, recipe.data.tokenizer, recipe.data.length) == (LABELS, str(folder), 64)
    assert recipe.data.source.jsonl == table


@pytest.mark.parametrize(("pooling", "mode"), [("mean_tokens", "mean"), ("cls_token", "cls")])
def test_an_encoder_says_pooling_tokenizer_and_length(tmp_path: Path, table: Path, pooling: str, mode: str) -> None:
    folder = embedder(tmp_path / "model", pooling)
    recipe = recipe_of(UserModel(f"hf:{folder}", table), []).recipe
    assert (recipe.task, recipe.student.pooling, recipe.student.normalize) == ("embedding", mode, True)
    assert (recipe.data.tokenizer, recipe.data.length) == (str(folder), 24)
    (folder / "sentence_bert_config.json").unlink()
    (folder / "modules.json").unlink()
    recipe = recipe_of(UserModel(f"hf:{folder}", table), []).recipe
    assert (recipe.task, recipe.student.pooling, recipe.student.normalize, recipe.data.length) == ("embedding", "mean", True, 64)


def test_the_length_is_what_the_model_takes_and_128_at_most(tmp_path: Path) -> None:
    for kind, positions, expected in (("bert", 512, 128), ("bert", 100, 100), ("roberta", 66, 64)):
        folder = save_encoder(tmp_path / f"{kind}-{positions}", kind, layers=1)
        edited(folder / "config.json", max_position_embeddings=positions, pad_token_id=1)
        assert data_of(folder)["length"] == expected
    edited(folder / "config.json", max_position_embeddings=9)
    with pytest.raises(UserError, match="found room for 7 tokens, expected at least 8"):
        data_of(folder)


def test_what_a_text_gets_no_label_by_is_refused(tmp_path: Path, table: Path) -> None:
    folder = classifier(tmp_path / "model")

    def refused(said: str, **changes: Any) -> None:
        before = (folder / "config.json").read_text()
        edited(folder / "config.json", **changes)
        with pytest.raises(UserError, match=said):
            recipe_of(UserModel(f"hf:{folder}", table), [])
        (folder / "config.json").write_text(before)

    refused("problem_type: found multi_label_classification", problem_type="multi_label_classification")
    refused("id2label: found 1 label", id2label={"0": "score"}, label2id=None)
    refused("id2label: found 2 label", id2label={"0": "same", "1": "same"}, label2id=None)
    (folder / "tokenizer.json").unlink()
    refused("found no tokenizer in")


def test_other_pooling_is_refused(tmp_path: Path, table: Path) -> None:
    folder = embedder(tmp_path / "model", "max_tokens")
    with pytest.raises(UserError, match=r"asks for max_tokens in 1_Pooling/config\.json, expected mean_tokens or cls_token"):
        recipe_of(UserModel(f"hf:{folder}", table), [])


def test_weights_that_are_missing_are_not_drawn(tmp_path: Path, table: Path) -> None:
    from edgedistill.tasks import task

    folder = classifier(tmp_path / "model")
    transformers.AutoModel.from_pretrained(folder).save_pretrained(tmp_path / "plain")
    (folder / "model.safetensors").write_bytes((tmp_path / "plain/model.safetensors").read_bytes())
    recipe = recipe_of(UserModel(f"hf:{folder}", table), []).recipe
    facts = task(recipe.task).source(recipe).prepare(tmp_path / "data", 0)
    with pytest.raises(UserError, match=r"no weights of the right shape for classifier\.bias, classifier\.weight"):
        task(recipe.task).build(recipe.student, recipe, facts)


def test_the_pooler_may_be_missing(tmp_path: Path, table: Path) -> None:
    from edgedistill.tasks import task

    folder = embedder(tmp_path / "model")
    model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
    model.save_pretrained(folder)
    recipe = recipe_of(UserModel(f"hf:{folder}", table), []).recipe
    facts = task(recipe.task).source(recipe).prepare(tmp_path / "data", 0)
    module = task(recipe.task).build(recipe.student, recipe, facts)
    assert torch.equal(module.model.embeddings.word_embeddings.weight, model.embeddings.word_embeddings.weight)


@pytest.mark.parametrize(
    ("label", "expected"),
    [(lambda name: name, [2, 1, 0]), (LABELS.index, [2, 1, 0]), (lambda name: None, [-1, -1, -1])],
)
def test_labels_of_texts_are_those_of_the_outputs(tmp_path: Path, label, expected: list[int]) -> None:
    folder = classifier(tmp_path / "model")
    rows = [{"text": f"{WORDS[name][0]} number {n}", "label": label(name)} for n in range(20) for name in ("animal", "fruit", "tool")]
    loaded = recipe_of(UserModel(f"hf:{folder}", write_jsonl(tmp_path / "t.jsonl", rows)), [])
    from edgedistill.tasks import task

    facts = task("text-classification").source(loaded.recipe).prepare(tmp_path / "data", 0)
    assert facts.classes == LABELS
    assert np.load(tmp_path / "data/logits.npy")[:3].tolist() == expected
    data = task("text-classification").dataset(loaded.recipe, tmp_path / "data")
    assert len(data.indices["val"]) == 30
    assert bool(data.targets(data.indices["val"])) == (expected != [-1] * 3)
    rows[3]["label"] = "other"
    write_jsonl(tmp_path / "t.jsonl", rows)
    if expected[0] > 0 and rows[0]["label"] == "animal":
        with pytest.raises(UserError, match=r"t\.jsonl: found the label 'other' in label, expected one of tool, fruit, animal"):
            task("text-classification").source(loaded.recipe).prepare(tmp_path / "again", 0)


@pytest.mark.slow
def test_a_classifier_and_an_encoder_are_exported_verified_and_bundled(tmp_path: Path, table: Path) -> None:
    (tmp_path / "two.yaml").write_text(TARGET)
    rows = [json.loads(line)["text"] for line in table.read_text().splitlines()]
    for folder, output in ((classifier(tmp_path / "labels"), "logits"), (embedder(tmp_path / "vectors"), "embedding")):
        command = ("export", "--model", f"hf:{folder.name}", "--calibration", table.name, "--target", "two.yaml", "--json")
        done = edgedistill(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert {a["name"]: a["ok"] for a in json.loads(done.stdout)["artifacts"]} == {
            "student-fp32.onnx": True, "student-int8-dynamic.onnx": True,
        }  # fmt: skip
        run = tmp_path / "runs" / folder.name
        split = np.load(run / "work/data/split.npy")
        shown = [text for text, number in zip(rows, split, strict=True) if number == 1]
        found = np.load(run / f"work/programs/rungs/student/{output}.npy")
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")
        given = tokenizer(shown, padding=True, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            if output == "logits":
                expected = transformers.AutoModelForSequenceClassification.from_pretrained(folder)(**given).logits.numpy()
            else:
                states, mask = transformers.AutoModel.from_pretrained(folder)(**given)[0], given["attention_mask"][..., None]
                expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
        manifest = json.loads((run / "bundles/two/manifest.json").read_text())
        assert manifest.get("labels", LABELS) == LABELS
        assert hub_models.task_of(folder).name == manifest["task"]
