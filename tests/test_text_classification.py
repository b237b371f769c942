"""Text classification: tables, tokens, encoders and a whole run."""

import base64
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from made_texts import save_encoder, texts, write_jsonl

import edgedistill
from edgedistill import tasks
from edgedistill.errors import UserError
from edgedistill.gate.review.pairs import Answers
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import load_recipe
from edgedistill.recipe.schema import Recipe
from edgedistill.records.summary import Summary
from edgedistill.runs import open_run
from edgedistill.steps.model_files import found
from edgedistill.tasks.data import DataFacts
from edgedistill.tasks.text import models, tokenizing
from edgedistill.tasks.text.encoder import Encoder, check_mask
from edgedistill.tasks.text.recipe import Cut, TrainedTokenizer

TASK = tasks.task("text-classification")
STAGES = [{"name": "finetune", "epochs": 8, "lr": 1.0e-2, "losses": {"ce": {}, "kd": {}}}]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with its tokenizer."""
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 labelled texts."""
    return write_jsonl(tmp_path_factory.mktemp("texts") / "texts.jsonl", texts(240))


def recipe_of(table: Path, encoder: Path, **fields: object) -> dict[str, object]:
    """The fields of a recipe."""
    return {
        "name": "texts",
        "task": "text-classification",
        "threads": 1,
        "data": {"source": {"jsonl": str(table)}, "length": 12, "split": {"val": 0.2, "holdout": 0.2}, "batch_size": 16},
        "teacher": {"hf": str(encoder), "train": {"epochs": 8, "lr": 5.0e-3}},
        "student": {"cut": {"layers": 1}},
        "distill": {"stages": STAGES},
        **fields,
    }


def prepared(fields: dict[str, object], folder: Path) -> tuple[Recipe, DataFacts]:
    """The recipe of `fields`, and what is known of its data."""
    recipe = load_recipe(fields).recipe
    return recipe, TASK.source(recipe).prepare(folder, recipe.seed)


def test_every_kind_of_table_gives_the_same_samples(encoder: Path, table: Path, tmp_path: Path) -> None:
    import datasets
    import pandas as pd

    rows = pd.DataFrame(texts(240))
    rows.to_csv(tmp_path / "texts.csv", index=False)
    rows.to_parquet(tmp_path / "texts.parquet")
    datasets.Dataset.from_pandas(rows).save_to_disk(str(tmp_path / "saved"))
    sources = [
        {"jsonl": str(table)}, {"csv": str(tmp_path / "texts.csv")}, {"parquet": str(tmp_path / "texts.parquet")},
        {"datasets": str(tmp_path / "saved")},
    ]  # fmt: skip
    found = []
    for number, source in enumerate(sources):
        fields = recipe_of(table, encoder)
        fields["data"] = {**fields["data"], "source": source, "fields": ["label"]}
        recipe, facts = prepared(fields, tmp_path / str(number))
        found.append((facts.sha256, facts.classes, facts.splits))
        data = TASK.dataset(recipe, tmp_path / str(number))
        sample = data.inputs(np.arange(2))
        assert {name: (array.dtype, array.shape) for name, array in sample.items()} == {
            "input_ids": (np.int32, (2, 12)), "attention_mask": (np.int32, (2, 12)),
        }  # fmt: skip
        slices = TASK.slices(data, np.arange(240))
        assert slices["label"].tolist() == slices["class"].tolist() == [row["label"] for row in texts(240)]
        assert data.batch(np.arange(2), None).inputs["input_ids"].shape == (2, 12)
    assert found.count(found[0]) == len(sources)
    assert found[0][1:] == (["animal", "fruit", "tool"], {"train": 144, "val": 48, "holdout": 48})


def test_tokens_are_those_of_the_models_own_tokenizer(encoder: Path, table: Path, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    recipe, _ = prepared(recipe_of(table, encoder), tmp_path)
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(encoder / "tokenizer.json"), pad_token="[PAD]")
    rows = [row["text"] for row in texts(240)]
    expected = theirs(rows, padding="max_length", max_length=12, truncation=True, return_tensors="np")
    found = TASK.dataset(recipe, tmp_path).inputs(np.arange(240))
    assert (found["input_ids"] == expected["input_ids"]).all()
    assert (found["attention_mask"] == expected["attention_mask"]).all()
    assert (tmp_path / "tokenizer.json").is_file()


PREPARE = """
import sys
from pathlib import Path
from edgedistill import tasks
from edgedistill.recipe.loading import load_recipe
recipe = load_recipe({**eval(sys.argv[1]), "name": "twice"}).recipe
print(tasks.task(recipe.task).source(recipe).prepare(Path(sys.argv[2]), recipe.seed).sha256)
"""


@pytest.mark.parametrize("task", ["text-classification", "causal-lm"])
def test_two_processes_train_the_same_tokenizer(table: Path, tmp_path: Path, task: str) -> None:
    data = {"source": {"jsonl": str(table)}, "tokenizer": {"vocabulary": 300}, "length": 24}
    if task == "causal-lm":
        data |= {"prompt": "label", "completion": "text"}
    model = {"config": {"model_type": "bert" if task == "text-classification" else "llama", "hidden_size": 16, "num_hidden_layers": 1}}
    fields = {"task": task, "data": data, "teacher": {**model, "train": {}}, "student": model}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARE, repr(fields), str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads},
            stdout=subprocess.PIPE,
        )
        for seed, threads in (("1", "1"), ("2", "4"))
    ]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1
    assert [process.returncode for process in started] == [0, 0]
    first, second = (path.read_bytes() for path in tmp_path.rglob("tokenizer.json"))
    assert first == second


def test_words_of_a_trained_tokenizer_are_no_special_tokens() -> None:
    made = tokenizing.trained(TrainedTokenizer(vocabulary=100), lambda: ["an ant and a nut", "a tuna"], 16)
    assert made.encode("##t [SEP]").tokens == ["[CLS]", "[UNK]", "[UNK]", "t", "[SEP]", "[SEP]"]


def test_a_column_divides_the_texts_and_repeated_texts_are_told(encoder: Path, tmp_path: Path) -> None:
    rows = [{**row, "part": ["train", "train", "train", "val"][number // 3 % 4]} for number, row in enumerate(texts(48))]
    rows[9]["text"] = rows[0]["text"].upper()
    fields = recipe_of(write_jsonl(tmp_path / "t.jsonl", rows), encoder)
    fields["data"] = {**fields["data"], "split_column": "part", "split": {"val": 0.2, "holdout": 0}}
    recipe, facts = prepared(fields, tmp_path / "data")
    assert facts.splits == {"train": 36, "val": 12, "holdout": 0}
    assert TASK.dataset(recipe, tmp_path / "data").indices["val"].tolist() == [9, 10, 11, 21, 22, 23, 33, 34, 35, 45, 46, 47]
    assert any("of 12 texts of val and holdout stand in train too" in text for text in facts.warnings)


def test_long_texts_are_cut_and_told(encoder: Path, tmp_path: Path) -> None:
    rows = texts(60)
    rows[0]["text"] = "apple " * 100
    recipe, facts = prepared(recipe_of(write_jsonl(tmp_path / "t.jsonl", rows), encoder), tmp_path / "data")
    assert facts.warnings[0].startswith("1 of 60 texts have 12 tokens or more and may be cut")
    tokens = TASK.dataset(recipe, tmp_path / "data").inputs(np.arange(1))
    end = tokenizing.found(str(encoder), 12).token_to_id("[SEP]")
    assert tokens["attention_mask"].all()
    assert tokens["input_ids"][0, -1] == end, "what ends a text stays"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [{**row, "text": "" if number < 2 else row["text"]} for number, row in enumerate(rows)],
         "t.jsonl: 2 row(s) cannot be used: row 1: no text in text; row 2: no text in text"),
        (lambda rows: [{"body": row["text"], "label": row["label"]} for row in rows], "found no column 'text', expected one of body, "),
        (lambda rows: [{**row, "label": "one"} for row in rows], "found 1 label(s) in label, expected at least 2 different ones"),
        (lambda rows: [*rows, {"text": "alone", "label": "rare"}], "class 'rare' has 1 text(s) to divide, expected at least 3"),
    ],
)  # fmt: skip
def test_bad_rows_give_one_error(encoder: Path, tmp_path: Path, change, said: str) -> None:
    path = write_jsonl(tmp_path / "t.jsonl", change(texts(60)))
    with pytest.raises(UserError) as caught:
        prepared(recipe_of(path, encoder), tmp_path / "data")
    assert said in str(caught.value)


def test_a_broken_file_gives_one_error(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "a", "label": "b"}\n{"text": ')
    with pytest.raises(UserError, match=r"t\.jsonl: not readable .*repair it"):
        prepared(recipe_of(tmp_path / "t.jsonl", encoder), tmp_path / "data")


def test_rows_without_a_label_are_taught_by_the_teacher_alone(encoder: Path, tmp_path: Path) -> None:
    rows = [*texts(60), *({"text": row["text"], "label": None} for row in texts(10, seed=5))]
    recipe, facts = prepared(recipe_of(write_jsonl(tmp_path / "t.jsonl", rows), encoder), tmp_path / "data")
    data = TASK.dataset(recipe, tmp_path / "data")
    assert facts.unlabelled == 10
    assert not data.has_target[60:].any()
    assert set(range(60, 70)) <= set(data.indices["train"].tolist())


def test_whole_numbers_are_labels_in_their_order(encoder: Path, tmp_path: Path) -> None:
    rows = [{"text": row["text"], "label": [10, 2, -1][number % 3]} for number, row in enumerate(texts(60))]
    _, facts = prepared(recipe_of(write_jsonl(tmp_path / "t.jsonl", rows), encoder), tmp_path / "data")
    assert facts.classes == ["-1", "2", "10"]


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "electra", "mpnet"])
def test_an_encoder_gives_the_logits_of_transformers_whatever_fills_up_a_text(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = save_encoder(tmp_path, kind, layers=2)
    theirs = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3).eval()
    ours = Encoder(theirs)
    tokens = torch.randint(5, 40, (3, 10))
    mask = torch.ones_like(tokens)
    mask[0, 4:], mask[1, 7:] = 0, 0
    tokens[mask == 0] = theirs.config.pad_token_id or 0
    with torch.no_grad():
        expected, found = theirs(input_ids=tokens, attention_mask=mask).logits, ours(tokens.int(), mask.int())
        assert torch.allclose(found, expected, atol=1e-5)
        short = ours(tokens[:1, :4].int(), mask[:1, :4].int())
    assert torch.allclose(short, expected[:1], atol=1e-5)
    check_mask(ours, kind, 40, 16)


def test_an_architecture_that_reads_its_mask_otherwise_is_refused(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(save_encoder(tmp_path, layers=1)).eval()
    forward = model.forward

    def ignores(input_ids, attention_mask, **more):
        return forward(input_ids=input_ids, attention_mask=None if attention_mask.ndim == 4 else attention_mask, **more)

    model.forward = ignores
    with pytest.raises(UserError, match="gives other results where its mask is added"):
        check_mask(Encoder(model), "odd", 40, 16)


@pytest.mark.parametrize(("layers", "numbers"), [(2, [1, 3]), (4, [0, 1, 2, 3]), (1, [3]), ([0, 2], [0, 2])])
def test_a_student_is_cut_from_layers_of_the_teacher(encoder: Path, layers: object, numbers: list[int]) -> None:
    teacher = models.loaded(str(encoder), "teacher", num_labels=3)
    student = models.cut(teacher, Cut(layers=layers))
    assert student.config.num_hidden_layers == len(student.bert.encoder.layer) == len(numbers)
    for layer, number in zip(student.bert.encoder.layer, numbers, strict=True):
        for ours, theirs in zip(layer.parameters(), teacher.bert.encoder.layer[number].parameters(), strict=True):
            assert torch.equal(ours, theirs)
    assert torch.equal(student.bert.embeddings.word_embeddings.weight, teacher.bert.embeddings.word_embeddings.weight)


def test_a_student_is_trained_again_where_the_model_that_it_starts_from_changes(encoder: Path, table: Path) -> None:
    new = {"config": {"model_type": "bert"}}
    for student, origins in (({"cut": {"layers": 1}}, [str(encoder)]), ({"hf": "other"}, ["other"]), (new, [])):
        assert TASK.origins(load_recipe(recipe_of(table, encoder, student=student)).recipe) == origins


def test_layers_that_the_teacher_has_not_are_refused(encoder: Path) -> None:
    teacher = models.loaded(str(encoder), "teacher", num_labels=3)
    with pytest.raises(UserError, match="found 5 layers, and the teacher has 4"):
        models.cut(teacher, Cut(layers=5))
    with pytest.raises(UserError, match="found the number 4, and the teacher's layers are 0 to 3"):
        models.cut(teacher, Cut(layers=[0, 4]))


def test_a_trained_tokenizer_learns_nothing_of_val_and_holdout(encoder: Path, tmp_path: Path) -> None:
    rows = [{**row, "part": "train"} for row in texts(30)]
    rows += [{**row, "text": f"{row['text']} zyzzyva", "part": "val"} for row in texts(9)]
    fields = recipe_of(write_jsonl(tmp_path / "t.jsonl", rows), encoder)
    fields["data"] = {**fields["data"], "split_column": "part", "split": {"val": 0.2, "holdout": 0}, "tokenizer": {"vocabulary": 200}}
    fields |= {"teacher": {"config": {"model_type": "bert", "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}}}
    fields |= {"student": fields["teacher"]}
    _, facts = prepared(fields, tmp_path / "data")
    known = json.loads((tmp_path / "data/tokenizer.json").read_text())["model"]["vocab"]
    assert facts.vocabulary == len(known) <= 200
    assert "apple" in known
    assert "zyzzyva" not in known


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"student": {"config": {"model_type": "bert", "hidden_sise": 8}}}, "bert has no 'hidden_sise' (did you mean 'hidden_size'?)"),
        ({"student": {"config": {"model_type": "bret"}}}, "student.config: transformers has no model_type 'bret' (did you mean 'bert'?)"),
        ({"student": {"config": {"hidden_size": 8}}}, "expected model_type, such as bert"),
        ({"student": {"cut": {"layers": 0}}}, "expected a number of layers from 1"),
        ({"student": {"cut": {"layers": 1}, "hf": "x"}}, "found hf and cut, expected one of hf, config and cut"),
        ({"teacher": {"config": {"model_type": "bert"}}}, "expected teacher.hf beside student.cut"),
        ({"teacher": {"hf": "."}}, "teacher.hf: '.' is no model of texts that transformers can load"),
        ({"teacher": {"modle": "x"}}, "expected one of hf and config"),
    ],
)  # fmt: skip
def test_mistakes_of_models_are_told_by_their_field(
    encoder: Path, table: Path, tmp_path: Path, change: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fields = recipe_of(table, encoder, **change)
    fields["data"] = {**fields["data"], "tokenizer": str(encoder)}
    with pytest.raises(RecipeError) as caught:
        edgedistill.distill(fields, tmp_path)
    assert said in str(caught.value)


def test_texts_may_not_be_longer_than_the_positions_of_a_model(table: Path, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "roberta", "roberta", layers=1)
    fields = recipe_of(table, folder)
    # The first position of this RoBERTa is for padding.
    fields["data"] = {**fields["data"], "length": 64}
    with pytest.raises(RecipeError, match=r"takes 63 tokens, and data\.length is 64: make it at most 63"):
        edgedistill.distill(fields, tmp_path / "runs")


def test_a_tokenizer_of_another_model_is_refused(encoder: Path, table: Path, tmp_path: Path) -> None:
    other = tokenizing.trained(TrainedTokenizer(vocabulary=4000), lambda: (f"word{n}" for n in range(3000)), 12)
    other.save(str(tmp_path / "other.json"))
    fields = recipe_of(table, encoder)
    fields["data"] = {**fields["data"], "tokenizer": str(tmp_path / "other.json")}
    with pytest.raises(RecipeError, match=r"knows \d+ tokens, and the tokenizer has"):
        edgedistill.distill(fields, tmp_path / "runs")


@pytest.fixture(scope="session")
def ran(encoder: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A whole run: the encoder teaches one of its layers, which becomes a file of any size, and one for each bucket."""
    folder = tmp_path_factory.mktemp("run")
    target = folder / "two.yaml"
    target.write_text(
        "name: two\ndescription: Two files.\nminimum_os: any\nglue: [python]\nartifacts:\n"
        "  - {format: onnx, precision: int8-dynamic}\n  - {format: executorch, precision: int8-dynamic}\n"
    )
    measure = {"threads": 1, "warmup_s": 0.01, "max_s": 0.05, "min_samples": 5}
    fields = recipe_of(table, encoder, targets=[str(target)], measure=measure)
    fields["data"] = {**fields["data"], "buckets": [6, 12]}
    return edgedistill.run(fields, folder / "runs")


def test_a_run_teaches_and_verifies(ran: Summary) -> None:
    assert ran.status == "ok"
    rungs = {row.rung: row.score.val.value for row in ran.ladder}
    assert rungs["teacher"] > 0.9
    assert rungs["student"] > 0.9
    assert rungs["integer"] > 0.9, "a mask of -30000 takes no step from the scores of attention"
    assert {a.name: a.ok for a in ran.artifacts if a.role == "student"} == {
        "student-int8-dynamic.onnx": True, "student-int8-dynamic-tokens12.pte": True, "student-int8-dynamic-tokens6.pte": True,
    }  # fmt: skip
    titles = [section.title for section in ran.sections]
    assert titles == ["Mistakes", "Confidence"]


def test_each_file_is_held_to_the_texts_of_its_bucket(ran: Summary) -> None:
    judged = {a.name: (a.parity.n, a.score.val.n, a.outputs["logits"].n) for a in ran.artifacts}
    of_all, *of_buckets = (judged[f"student-int8-dynamic{name}"] for name in (".onnx", "-tokens12.pte", "-tokens6.pte"))
    assert of_all == (48, 48, 48)
    assert min(n for n, *_ in of_buckets) > 5
    assert [sum(counts) for counts in zip(*of_buckets, strict=True)] == [48, 48, 48]
    assert sum(a.score.holdout.n for a in ran.artifacts if a.sizes) == 48
    data = TASK.dataset(Recipe.model_validate(ran.recipe.effective), Path(ran.run) / "work/data")
    for a in ran.artifacts:
        bucket = data.fields["tokens"][a.outputs["logits"].worst]
        assert bucket == (a.sizes or {"tokens": bucket})["tokens"], "the worst sample is one that the file took"


def test_people_compare_the_decisions_on_the_texts_of_each_file(ran: Summary) -> None:
    rows = texts(240)
    with open_run(Path(ran.run)) as run:
        answers = Answers(run, Recipe.model_validate(ran.recipe.effective))
        contests = {a.name: answers.contest("teacher", a.name) for a in ran.artifacts if a.role == "student"}
        for name, contest in contests.items():
            assert len(contest.answers) == next(a.parity.n for a in ran.artifacts if a.name == name)
            right = [ours == rows[sample]["label"] for sample, (ours, _) in contest.answers.items()]
            assert sum(right) > 0.9 * len(right)
            assert all(answers.pair(contest, sample).prompt == rows[sample]["text"] for sample in [*contest.answers][:5])


def test_without_qat_the_int8_state_is_calibrated(ran: Summary) -> None:
    steps = [path.stem for path in (Path(ran.run) / "work/records").iterdir()]
    assert "qat" not in steps
    assert "programs" in steps
    assert ran.verdict.outcome != "unavailable", "something was distilled"
    assert [row.rung for row in ran.ladder if row.rung == "fake_quant"] == []


def test_a_bundle_has_the_tokenizer_and_its_rules(ran: Summary) -> None:
    (bundle,) = (Path(ran.run) / "bundles").glob("*/manifest.json")
    manifest = json.loads(bundle.read_text())
    assert manifest["labels"] == ["animal", "fruit", "tool"]
    tokens = manifest["preprocessing"]["inputs"]["input_ids"]
    assert (tokens["kind"], tokens["length"]) == ("text", 12)
    path = bundle.parent / tokens["tokenizer"]
    tokenizer = tokenizing.found(str(path), tokens["length"])
    golden = np.load(bundle.parent / manifest["artifacts"][0]["golden"]["inputs"]["input_ids"]["path"])
    assert tokens["buckets"] == [6, 12]
    for entry in manifest["artifacts"]:
        size = entry.get("sizes", {"tokens": 12})["tokens"]
        assert entry["signature"]["inputs"][0]["shape"] == [1, size if "sizes" in entry else "tokens"]
        files = [*entry["golden"]["inputs"].values(), *entry["golden"]["outputs"].values()]
        count = entry["golden"]["count"]
        assert [np.load(bundle.parent / file["path"]).shape for file in files] == [(count, size), (count, size), (count, 3)]
    assert edgedistill.check_bundle(bundle.parent).problems == []
    row = golden[0][golden[0] != tokens["padding"]]
    assert tokenizer.encode(tokenizer.decode(row.tolist())).ids == row.tolist()


def test_the_glue_code_of_a_bundle_predicts_from_a_text(ran: Summary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (bundle,) = (Path(ran.run) / "bundles").glob("*/manifest.json")
    monkeypatch.syspath_prepend(bundle.parent / "python")
    glue = import_module("texts_model")
    readme = (bundle.parent / "README.md").read_text()
    assert "texts]" in readme
    assert "What is the weather?" in readme
    with glue.Model.load(bundle.parent, artifact="student-int8-dynamic.onnx") as model:
        found = model.self_test()
        assert found.ok, found.describe()
        rows = texts(60, seed=7)
        assert np.mean([model.predict(row["text"]).best.label == row["label"] for row in rows]) > 0.9
        assert model.predict("apple " * 500).best.label == "fruit", "longer than the model takes"
        assert sum(score.probability for score in model.predict("").top(3)) == pytest.approx(1)
        with pytest.raises(glue.InputError, match="found bytes, expected a text"):
            model.predict(b"apple")
        with pytest.raises(glue.Cancelled):
            model.predict("apple", cancelled=lambda: True)
        # A tokenizer that reads capitals otherwise.
        model.tokens = lambda text: [0]
        other = model.self_test()
    assert not other.ok
    assert "text 'Hello, World!': FAILED: it is tokenized in another way" in other.describe()


def test_files_of_a_run_answer_in_the_shadow_as_the_code_of_apps(ran: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    (bundle,) = (path.parent for path in (Path(ran.run) / "bundles").glob("*/manifest.json"))
    monkeypatch.syspath_prepend(bundle / "python")
    rows = [*(row["text"] for row in texts(6, seed=8)), "", "apple " * 500]
    with import_module("texts_model").Model.load(bundle, artifact="student-int8-dynamic.onnx") as model:
        predictions = [model.predict(text) for text in rows]
    # The code of apps has no runtime for the other file here: that of the first rounds a little otherwise.
    for name, most in (("student-int8-dynamic.onnx", 1e-6), ("student-int8-dynamic-tokens12.pte", 1e-2)):
        for source in (Path(ran.run), bundle):
            with found(source, name) as file:
                student = TASK.shadow(file, {}, 1, None)
            for text, prediction in zip(rows, predictions, strict=True):
                scores = dict(zip(prediction.labels, prediction.probabilities.tolist(), strict=True))
                request, answer = TASK.trace({"text": text, "scores": scores}, bundle)
                response = base64.b64encode(json.dumps(answer).encode()).decode()
                seen = student({"request": json.dumps(request), "response": response})["compared"]
                assert seen["agrees"]
                assert abs(seen["divergence"]) < most
