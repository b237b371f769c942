"""Further sets of samples with weights, and a holdout of its own: a gold set, objectives for safety or tone, traces of real use."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from made_texts import texts, write_jsonl

from edgedistill import tasks
from edgedistill.distill.lesson import Lesson
from edgedistill.errors import UserError
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import load_recipe
from edgedistill.recipe.schema import Recipe
from edgedistill.tasks.data import Dataset, chosen


def recipe(folder: Path, task: str, data: dict[str, Any], **more: Any) -> Recipe:
    """A recipe of a task with these data, checked as the command line does."""
    models = {"teacher": {"config": {"model_type": "bert"}}, "student": {"config": {"model_type": "bert"}}}
    if task == "causal-lm":
        models = {"teacher": {"config": {"model_type": "llama"}, "train": {}}, "student": {"config": {"model_type": "llama"}}}
    if task == "image-classification":
        models = {}
    path = folder / "sets.yaml"
    path.write_text(yaml.safe_dump({"name": "sets", "task": task, "data": data, **models, **more}))
    return load_recipe(str(path)).recipe


def prepared(made: Recipe, folder: Path) -> Dataset:
    """The data of a recipe, as the step `data` writes them into `folder`."""
    task = tasks.task(made.task)
    task.source(made).prepare(folder, made.seed)
    return task.dataset(made, folder)


def counts(data: Dataset) -> dict[str, dict[str, int]]:
    """Samples of each set in each split."""
    return {split: dict(Counter(data.fields["set"][indices].tolist())) for split, indices in data.indices.items()}


def text_data(folder: Path, **more: Any) -> dict[str, Any]:
    """Texts with a gold set in other columns, and traces as the holdout."""
    write_jsonl(folder / "main.jsonl", texts(90))
    write_jsonl(folder / "gold.jsonl", [{"says": row["text"], "kind": row["label"]} for row in texts(20, seed=1)])
    write_jsonl(folder / "traces.jsonl", texts(12, seed=2))
    return {
        "source": {"jsonl": str(folder / "main.jsonl")},
        "tokenizer": {"vocabulary": 128},
        "length": 16,
        "sets": {"gold": {"source": {"jsonl": str(folder / "gold.jsonl")}, "columns": {"text": "says", "label": "kind"}, "weight": 3}},
        "holdout": {"source": {"jsonl": str(folder / "traces.jsonl")}},
        **more,
    }


def test_a_gold_set_is_divided_and_traces_are_the_holdout(tmp_path: Path) -> None:
    made = recipe(tmp_path, "text-classification", text_data(tmp_path))
    data = prepared(made, tmp_path / "data")
    assert counts(data) == {
        "train": {"data": 72, "gold": 12},
        "val": {"data": 18, "gold": 4},
        "holdout": {"gold": 4, "holdout": 12},
    }
    # The rows stand in their order, with the labels of their own columns.
    expected = [row["label"] for row in [*texts(90), *texts(20, seed=1), *texts(12, seed=2)]]
    classes = sorted(set(expected))
    assert [classes[label] for label in data.targets(np.arange(len(data)))["logits"]] == expected
    told = [one.facts for one in tasks.task(made.task).taught(made, data)]
    assert Counter(told) == {'{"set": "data"}': 90, '{"set": "gold"}': 20, '{"set": "holdout"}': 12}


def test_fractions_of_a_set_are_its_own(tmp_path: Path) -> None:
    data = text_data(tmp_path)
    data["sets"]["gold"]["split"] = {"val": 0.5, "holdout": 0}
    found = counts(prepared(recipe(tmp_path, "text-classification", data), tmp_path / "data"))
    assert [found[split].get("gold", 0) for split in ("train", "val", "holdout")] == [10, 10, 0]


def test_sets_of_texts_without_labels(tmp_path: Path) -> None:
    data = text_data(tmp_path)
    made = recipe(tmp_path, "embedding", data, teacher={"hf": "nowhere"})
    data = prepared(made, tmp_path / "data")
    assert counts(data) == {"train": {"data": 72, "gold": 12}, "val": {"data": 18, "gold": 4}, "holdout": {"gold": 4, "holdout": 12}}


def test_a_label_that_the_data_lack_is_told(tmp_path: Path) -> None:
    data = text_data(tmp_path)
    write_jsonl(tmp_path / "gold.jsonl", [{"says": "a nut", "kind": "nut"}] * 4)
    with pytest.raises(UserError, match="the set gold: found the label 'nut' in label, expected one of"):
        prepared(recipe(tmp_path, "text-classification", data), tmp_path / "data")


def test_a_set_that_is_too_small_to_divide_is_told(tmp_path: Path) -> None:
    data = text_data(tmp_path)
    write_jsonl(tmp_path / "gold.jsonl", [{"says": "a pear", "kind": "fruit"}])
    with pytest.raises(UserError, match=r"set 'gold' has 1 text\(s\) to divide, expected at least 3"):
        prepared(recipe(tmp_path, "text-classification", data), tmp_path / "data")


def test_splits_of_the_data_and_licences_need_not_stand_in_a_set(tmp_path: Path) -> None:
    data = text_data(tmp_path, split_column="split", license_column="licence", fields=["city"])
    rows = [{**row, "split": "val" if n < 30 else "train", "licence": "MIT", "city": "Ulm"} for n, row in enumerate(texts(90))]
    write_jsonl(tmp_path / "main.jsonl", rows)
    made = recipe(tmp_path, "text-classification", data)
    found = prepared(made, tmp_path / "data")
    assert counts(found)["val"] == {"data": 30, "gold": 4}
    assert dict(Counter(found.fields["city"].tolist())) == {"Ulm": 90, "": 32}
    assert Counter(one.facts for one in tasks.task(made.task).taught(made, found))['{"licence": "MIT", "set": "data"}'] == 90


def test_personal_data_are_replaced_in_every_set(tmp_path: Path) -> None:
    data = text_data(tmp_path, scrub={"names": []}, fields=["kind"], license_column="licence")
    for name in ("main", "gold", "traces"):
        row = {"text": f"write to {name}@example.org", "says": f"write to {name}@example.org", "label": "tool", "licence": "MIT"}
        kinds = [{**row, "label": kind, "kind": kind} for kind in ("tool", "fruit")]
        write_jsonl(tmp_path / f"{name}.jsonl", kinds * 6)
    found = prepared(recipe(tmp_path, "text-classification", data), tmp_path / "data")
    assert found.facts.personal.found == {"email": 36}
    assert Counter(found.fields["set"].tolist()) == {"data": 12, "gold": 12, "holdout": 12}
    assert Counter(found.fields["kind"].tolist())["tool"] == 18


def exchanges(folder: Path) -> dict[str, Any]:
    """Prompts and completions, and a set for tone with answers to avoid, which the data do not have."""
    write_jsonl(folder / "main.jsonl", [{"prompt": f"say {n}", "completion": f"yes {n}"} for n in range(40)])
    tone = [{"asked": f"hello {n}", "completion": "oi" if n % 2 else "good day", "fit": str(n % 2 == 0)} for n in range(20)]
    write_jsonl(folder / "tone.jsonl", tone)
    return {
        "source": {"jsonl": str(folder / "main.jsonl")},
        "good": "good",
        "tokenizer": {"vocabulary": 300},
        "length": 64,
        "tried": 2,
        "sets": {"tone": {"source": {"jsonl": str(folder / "tone.jsonl")}, "columns": {"prompt": "asked", "good": "fit"}}},
    }


def test_answers_to_avoid_in_a_set_alone(tmp_path: Path) -> None:
    data = prepared(recipe(tmp_path, "causal-lm", exchanges(tmp_path)), tmp_path / "data")
    assert data.avoid.sum() == 10
    assert set(data.fields["set"][data.avoid].tolist()) == {"tone"}
    # Nothing is judged by an answer to avoid.
    assert not data.avoid[data.indices["val"]].any()
    assert counts(data)["train"]["data"] == 24


def test_prompts_of_every_set_are_tried(tmp_path: Path) -> None:
    data = prepared(recipe(tmp_path, "causal-lm", exchanges(tmp_path)), tmp_path / "data")
    assert Counter(data.fields["set"][chosen(data, "val", 2)].tolist()) == {"data": 2, "tone": 2}


def images(folder: Path) -> dict[str, Any]:
    """Images of three classes, a gold set of one of them, and a holdout in a folder."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 16, 16), np.uint8)
    np.savez(folder / "main.npz", images=pixels, labels=np.arange(60) % 3)
    np.savez(folder / "gold.npz", images=rng.integers(0, 256, (10, 16, 16), np.uint8), labels=np.full(10, 2), place=np.arange(10))
    for number in range(4):
        place = folder / "traces" / "1"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(place / f"{number}.png")
    return {
        "source": {"npz": str(folder / "main.npz")},
        "image_size": 16,
        "sets": {"gold": {"source": {"npz": str(folder / "gold.npz")}, "weight": 2.5}},
        "holdout": {"source": {"imagefolder": str(folder / "traces")}},
    }


def test_sets_of_images_have_the_classes_of_the_data(tmp_path: Path) -> None:
    made = recipe(tmp_path, "image-classification", images(tmp_path))
    data = prepared(made, tmp_path / "data")
    assert counts(data) == {"train": {"data": 48, "gold": 6}, "val": {"data": 12, "gold": 2}, "holdout": {"gold": 2, "holdout": 4}}
    labels, sets = data.targets(np.arange(len(data)))["logits"], data.fields["set"]
    assert set(labels[sets == "gold"].tolist()) == {2}
    assert set(labels[sets == "holdout"].tolist()) == {1}
    told = Counter(one.facts for one in tasks.task(made.task).taught(made, data))
    assert told == {'{"set": "data"}': 60, '{"set": "gold"}': 10, '{"set": "holdout"}': 4}


def test_a_class_that_the_data_lack_is_told(tmp_path: Path) -> None:
    data = images(tmp_path)
    (tmp_path / "traces" / "1").rename(tmp_path / "traces" / "cat")
    with pytest.raises(UserError, match=r"found the class 'cat', expected classes of npz: .*: 0, 1, 2"):
        tasks.task("image-classification").source(recipe(tmp_path, "image-classification", data))


@pytest.mark.parametrize("task", ["text-classification", "image-classification"])
def test_the_fingerprint_changes_with_each_set_but_not_with_weights(tmp_path: Path, task: str) -> None:
    data = text_data(tmp_path) if task == "text-classification" else images(tmp_path)
    source = tasks.task(task).source

    def fingerprint() -> str:
        return source(recipe(tmp_path, task, data)).fingerprint

    before = fingerprint()
    data["sets"]["gold"]["weight"] = 7
    assert fingerprint() == before
    data["sets"] = {"silver": data["sets"]["gold"]}
    assert fingerprint() != before
    renamed = fingerprint()
    data["holdout"] = None
    assert fingerprint() != renamed


def lesson(made: Recipe, data: Dataset, batch_size: int = 4) -> Lesson:
    task = tasks.task(made.task)
    return Lesson(task, task.signature(made, data.facts), data, 1, batch_size, 0, weights=made.data.weights)


def test_an_epoch_shows_samples_by_their_weights(tmp_path: Path) -> None:
    made = recipe(tmp_path, "image-classification", images(tmp_path))
    data = prepared(made, tmp_path / "data")
    taught = lesson(made, data, 1)
    shown = np.stack([np.bincount(np.concatenate(taught.order(epoch)), minlength=len(data)) for epoch in range(40)])
    train, gold = data.indices["train"], data.fields["set"] == "gold"
    assert taught.samples == 48 + 15
    assert (shown.sum(axis=1) == 63).all()
    assert (shown[:, train[~gold[train]]] == 1).all()
    assert set(shown[:, train[gold[train]]].ravel().tolist()) == {2, 3}
    assert (abs(shown[:, train[gold[train]]].mean(axis=0) - 2.5) < 0.3).all()
    assert not shown[:, np.concatenate([data.indices["val"], data.indices["holdout"]])].any()
    # Those of a sample are spread over the epoch, and no epoch is as the one before.
    first, second = np.concatenate(taught.order(0)), np.concatenate(taught.order(1))
    assert (first != second).any()
    assert (np.diff(np.flatnonzero(first == train[gold[train]][0])) > 1).any()


def test_a_weight_below_one_shows_some_in_each_epoch(tmp_path: Path) -> None:
    data = images(tmp_path)
    data["sets"]["gold"]["weight"] = 0.5
    made = recipe(tmp_path, "image-classification", data)
    found = prepared(made, tmp_path / "data")
    taught, gold = lesson(made, found, 1), found.fields["set"] == "gold"
    shown = [set(np.concatenate(taught.order(epoch))[gold[np.concatenate(taught.order(epoch))]].tolist()) for epoch in range(30)]
    assert {len(one) for one in shown} == {3}
    assert len(set().union(*shown)) == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sets": {"data": {"source": {"csv": "x.csv"}}}}, "expected another name than data and holdout"),
        ({"sets": {"Gold": {"source": {"csv": "x.csv"}}}}, "data.sets"),
        ({"sets": {"gold": {"source": {"csv": "x.csv"}, "weight": 0}}}, "data.sets.gold.weight"),
        ({"sets": {"gold": {"source": {"csv": "x.csv"}, "split": {"val": 0.5, "holdout": 0.5}}}}, "expected a sum below 1"),
        ({"sets": {"gold": {"weight": 2}}}, "data.sets.gold.source"),
        ({"fields": ["set"]}, "found set in data.fields, expected fields of other names than set"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as told:
        recipe(tmp_path, "text-classification", text_data(tmp_path, **change))
    assert said in str(told.value)
