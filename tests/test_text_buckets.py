"""Texts that are filled up to buckets: data, batches of one size, which files are made, and which samples each of them takes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_texts import texts, write_jsonl

from edgedistill import tasks
from edgedistill.distill.lesson import Lesson
from edgedistill.files import write_arrays
from edgedistill.measure.inputs import taken
from edgedistill.recipe.base import RecipeError
from edgedistill.recipe.loading import load_recipe
from edgedistill.recipe.schema import Recipe
from edgedistill.records import ArtifactSpec
from edgedistill.signature import Signature, TensorSpec
from edgedistill.steps.wanted import wanted
from edgedistill.tasks.data import of_one_size
from edgedistill.tasks.modules import predict_samples
from edgedistill.tasks.text.dataset import TextDataset
from edgedistill.verify import stored
from edgedistill.verify.rungs import save_samples

TASK = tasks.task("text-classification")
BUCKETS, LENGTH = [5, 8, 12], 12
TARGET = """name: several
description: Formats with fixed and with dynamic shapes.
minimum_os: any
artifacts:
  - {format: onnx, precision: fp32}
  - {format: litert, precision: fp32}
"""


def recipe_of(folder: Path, buckets: list[int] | None) -> Recipe:
    (folder / "target.yaml").write_text(TARGET)
    data = {"source": {"jsonl": str(write_jsonl(folder / "texts.jsonl", texts(240)))}, "length": LENGTH, "buckets": buckets}
    data |= {"tokenizer": {"vocabulary": 128}, "split": {"val": 0.2, "holdout": 0.2}}
    model = {"config": {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}}
    targets = [str(folder / "target.yaml")]
    return load_recipe({"name": "t", "task": TASK.name, "data": data, "teacher": model, "student": model, "targets": targets}).recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return recipe_of(tmp_path_factory.mktemp("recipe"), BUCKETS)


@pytest.fixture(scope="module")
def data(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> TextDataset:
    folder = tmp_path_factory.mktemp("data")
    TASK.source(recipe).prepare(folder, 0)
    return TASK.dataset(recipe, folder)


@pytest.fixture(scope="module")
def signature(recipe: Recipe, data: TextDataset) -> Signature:
    return TASK.signature(recipe, data.facts)


@pytest.mark.parametrize("buckets", [[8, 5, 12], [5, 5, 12], [5, 8], [16], []])
def test_buckets_rise_to_the_length(tmp_path: Path, buckets: list[int]) -> None:
    with pytest.raises(RecipeError, match=r"data(\.buckets)?: "):
        recipe_of(tmp_path, buckets)


@pytest.mark.parametrize("online", [False, True])
def test_signals_of_layers_are_not_kept(tmp_path: Path, *, online: bool) -> None:
    stage = {"name": "align", "epochs": 1, "lr": 1.0e-3, "losses": {"minilm": {}}, "online": online}
    data = {"source": {"jsonl": str(write_jsonl(tmp_path / "texts.jsonl", texts(60)))}, "length": LENGTH, "buckets": BUCKETS}
    fields = {
        "name": "t", "task": "embedding", "data": data, "teacher": {"hf": "x"}, "student": {"cut": {"layers": 1}},
        "distill": {"stages": [stage], "control": False, "calibrate": False},
    }  # fmt: skip
    if online:
        assert load_recipe(fields).recipe.data.buckets == BUCKETS
        return
    with pytest.raises(
        RecipeError, match=r"found distill\.stages\.0 with losses of keys:last, queries:last, values:last and online: false"
    ):
        load_recipe(fields)


def test_a_batch_is_filled_up_to_the_smallest_bucket_that_holds_its_texts(data: TextDataset) -> None:
    whole = data.inputs(np.arange(len(data)))
    counts = whole["attention_mask"].sum(axis=1)
    assert whole["input_ids"].shape == (240, LENGTH), "runtimes are given the largest size, which is cut"
    bucket = data.fields["tokens"]
    assert set(bucket.tolist()) == set(BUCKETS)
    assert all(size >= count > max([0, *(other for other in BUCKETS if other < size)]) for size, count in zip(bucket, counts, strict=True))
    for size in BUCKETS:
        rows = np.flatnonzero(bucket <= size)[:4]
        batch = data.batch(rows, None)
        longest = bucket[rows].max()
        for name, values in batch.inputs.items():
            np.testing.assert_array_equal(values.numpy(), whole[name][rows, :longest])


def test_the_signature_varies_with_buckets_only(signature: Signature, tmp_path: Path) -> None:
    assert [spec.shape for spec in signature.inputs] == [(1, "tokens")] * 2
    assert signature.limits == {"tokens": LENGTH}
    plain = recipe_of(tmp_path, None)
    facts = TASK.source(plain).prepare(tmp_path / "data", 0)
    assert [spec.shape for spec in TASK.signature(plain, facts).inputs] == [(1, LENGTH)] * 2
    assert facts.sizes == {}
    fixed = signature.with_sizes({"tokens": 5})
    assert ([spec.shape for spec in fixed.inputs], fixed.limits) == ([(1, 5)] * 2, {})


def test_training_batches_have_one_size_and_every_epoch_has_all_samples(data: TextDataset, signature: Signature) -> None:
    lesson = Lesson(TASK, signature, data, 1, 16, seed=3)
    train, bucket = data.indices["train"], data.fields["tokens"]
    for epoch in range(3):
        order = lesson.order(epoch)
        assert len(order) == lesson.steps == len(train) // 16
        flat = np.concatenate(order)
        assert len(set(flat.tolist())) == len(flat)
        assert set(flat.tolist()) <= set(train.tolist())
        sizes = [set(bucket[batch].tolist()) for batch in order]
        whole = sum(int((bucket[train] == size).sum()) // 16 for size in BUCKETS)
        assert all(len(of_batch) == 1 for of_batch in sizes[:whole])
        assert len({*map(tuple, sizes[:whole])}) > 1
        np.testing.assert_array_equal(flat, np.concatenate(lesson.order(epoch)), err_msg="a resumed training has the same batches")
    assert not np.array_equal(np.concatenate(lesson.order(0)), np.concatenate(lesson.order(1)))
    few = Lesson(TASK, signature, data, 1, 1000, seed=3).order(0)
    assert [len(batch) for batch in few] == [len(train)]


def test_outputs_of_samples_of_all_sizes_are_in_the_order_of_the_samples(data: TextDataset, signature: Signature) -> None:
    seen = []

    class Sum(torch.nn.Module):
        def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            seen.append(tokens.shape[1])
            return torch.stack([tokens.sum(dim=1), mask.sum(dim=1), torch.full((len(tokens),), tokens.shape[1])], dim=1).float()

    indices = data.indices["val"][::-1].copy()
    found = predict_samples(Sum(), data, indices, signature.forward)["logits"]
    given = data.inputs(indices)
    np.testing.assert_array_equal(found[:, 0], given["input_ids"].sum(axis=1))
    np.testing.assert_array_equal(found[:, 1], given["attention_mask"].sum(axis=1))
    np.testing.assert_array_equal(found[:, 2], data.fields["tokens"][indices])
    assert seen == BUCKETS


def test_samples_are_told_apart_by_all_of_their_sizes() -> None:
    groups = of_one_size({"a": np.array([2, 1, 2, 1]), "b": np.array([3, 3, 4, 3])})
    assert [(sizes, places.tolist()) for sizes, places in groups] == [
        ({"a": 1, "b": 3}, [1, 3]), ({"a": 2, "b": 3}, [0]), ({"a": 2, "b": 4}, [2]),
    ]  # fmt: skip
    assert of_one_size({}) == []


def test_a_format_of_fixed_shapes_has_a_file_for_each_bucket(recipe: Recipe, tmp_path: Path) -> None:
    names = [spec.name for spec in wanted(recipe, recipe.targets) if spec.role == "student"]
    files = [f"student-fp32-tokens{size}.tflite" for size in (12, 8, 5)]
    assert names == ["student-fp32.onnx", *files]
    plain = recipe_of(tmp_path, None)
    assert [spec.name for spec in wanted(plain, plain.targets)][:-1] == ["student-fp32.onnx", "student-fp32.tflite"]
    assert "sizes" not in ArtifactSpec("litert", "fp32").model_dump(), "runs without sizes have the steps that they had"


def test_each_file_takes_the_samples_of_its_size(data: TextDataset, signature: Signature, tmp_path: Path) -> None:
    run = SimpleNamespace(path=tmp_path.joinpath, work=(tmp_path / "work").joinpath)
    samples = tmp_path / stored.SAMPLES["val"]
    save_samples(data, "val", signature, samples)
    bucket = data.fields["tokens"][data.indices["val"]]
    found = stored.parts(run, ArtifactSpec("onnx", "fp32"), "val")
    assert [sizes for sizes, _ in found] == [{"tokens": size} for size in BUCKETS]
    assert sorted(np.concatenate([places for _, places in found]).tolist()) == list(range(len(bucket)))
    ((sizes, places),) = stored.parts(run, ArtifactSpec("litert", "fp32", sizes={"tokens": 5}), "val")
    assert (bucket[places] == 5).all()
    assert stored.parts(run, ArtifactSpec("litert", "fp32", sizes={"tokens": 7}), "val") == []
    whole = data.inputs(data.indices["val"])
    with taken(samples, signature.forward.with_sizes(sizes), "float32-nchw", places=places) as files:
        for name, file in files.items():
            np.testing.assert_array_equal(np.load(file), whole[name][places, :5])
    stored.save_places(tmp_path / "work/val-file", places)
    assert stored.places(run, "file", "val").tolist() == places.tolist()
    assert stored.places(run, "other", "val") is None
    write_arrays(tmp_path / "one", whole)
    image = TensorSpec(name="input_ids", dtype="int32", shape=(1, LENGTH))
    with taken(tmp_path / "one", Signature.of([image], []).forward, "float32-nchw") as files:
        assert files["input_ids"] == tmp_path / "one/input_ids.npy", "samples of one size are not copied"
