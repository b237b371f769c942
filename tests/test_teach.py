"""Sources, splits, views that replay, and the keys of the signal cache."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgedistill.errors import UserError
from edgedistill.tasks.image_classification import hub, imageset, shards, sources
from edgedistill.tasks.image_classification import views as views_module
from edgedistill.tasks.image_classification.recipe.data import Augment
from edgedistill.tasks.image_classification.views import Views

FRACTIONS = (0.2, 0.2)


def write_images(folder: Path, classes: dict[str, int], size: tuple[int, int] = (20, 14)) -> Path:
    rng = np.random.default_rng(0)
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")
    return folder


def test_imagefolder_is_divided_within_each_class_by_the_seed(tmp_path: Path) -> None:
    found = sources.imagefolder(write_images(tmp_path / "data", {"cat": 10, "dog": 20}))
    data = imageset.prepare(found, tmp_path / "run", image_size=16, fractions=FRACTIONS, seed=3)
    assert data.classes == ["cat", "dog"]
    assert data.images.shape == (30, 3, 16, 16)
    assert {name: len(i) for name, i in data.indices.items()} == {"train": 18, "val": 6, "holdout": 6}
    assert np.bincount(data.labels[data.indices["val"]]).tolist() == [2, 4]
    again = imageset.assign_splits(found, FRACTIONS, 3)
    assert (again == imageset.assign_splits(found, FRACTIONS, 3)).all()
    assert (again != imageset.assign_splits(found, FRACTIONS, 4)).any()


def test_folders_of_splits_are_kept_and_a_missing_one_is_drawn_from_train(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"a": 10, "b": 10})
    write_images(tmp_path / "val", {"a": 3, "b": 4})
    found = sources.imagefolder(tmp_path)
    split = imageset.assign_splits(found, FRACTIONS, 0)
    assert np.bincount(split).tolist() == [16, 7, 4]
    assert all((split[i] == 1) == ("/val/" in name) for i, name in enumerate(found.names))


def test_npz_keeps_its_split(tmp_path: Path) -> None:
    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    np.savez(tmp_path / "d.npz", images=images, labels=[0, 1, 0, 1, 0, 1], split=[0, 0, 1, 1, 2, 2])
    data = imageset.prepare(sources.npz(tmp_path / "d.npz"), tmp_path / "run", image_size=4, fractions=FRACTIONS, seed=0)
    assert [data.indices[s].tolist() for s in sources.SPLITS] == [[0, 1], [2, 3], [4, 5]]
    assert (data.images[:, 0] == images).all()
    assert imageset.load(tmp_path / "run").sha256 == data.sha256


def test_mistakes_in_data_are_reported_once_each(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "data", {"cat": 5, "dog": 5})
    for name in ("cat/1.png", "dog/2.png"):
        (folder / name).write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"2 unreadable image\(s\).*cat/1\.png.*dog/2\.png"):
        imageset.prepare(sources.imagefolder(folder), tmp_path / "run", image_size=16, fractions=FRACTIONS, seed=0)
    assert not (tmp_path / "run" / "images.npy").exists()
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=r"no images in class folder .*empty"):
        sources.imagefolder(folder)
    with pytest.raises(UserError, match="no such folder"):
        sources.imagefolder(tmp_path / "nowhere")
    np.savez(tmp_path / "bad.npz", images=np.zeros((3, 4, 4), np.float32), labels=[0, 1, 1])
    with pytest.raises(UserError, match=r"images are float32 \(3, 4, 4\), expected uint8"):
        sources.npz(tmp_path / "bad.npz")


def test_a_class_too_small_to_divide_is_refused(tmp_path: Path) -> None:
    found = sources.imagefolder(write_images(tmp_path, {"cat": 9, "rare": 2}))
    with pytest.raises(UserError, match="class 'rare' has 2"):
        imageset.assign_splits(found, FRACTIONS, 0)


def test_views_replay_and_differ() -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, 3, 16, 16), dtype=np.uint8)
    views = Views(images, Augment(hflip=True, brightness=0.2, erase=0.5), seed=1)
    indices = np.array([4, 1])
    state = torch.get_rng_state()
    first = views.batch(indices, 0)
    assert (torch.get_rng_state() == state).all(), "drawing a view must not disturb the training's generator"
    assert (first == views.batch(indices, 0)).all()
    assert (first[1] == views.batch(np.array([1]), 0)[0]).all(), "a view must not depend on the batch"
    assert (first != views.batch(indices, 1)).any()
    assert (first != Views(images, Augment(hflip=True, brightness=0.2, erase=0.5), seed=2).batch(indices, 0)).any()
    assert first.min() >= 0
    assert first.max() <= 1
    again = Views(images, Augment(hflip=True, brightness=0.2, erase=0.5), seed=1)
    assert (first[1] == again.batch(np.array([1]), 0)[0]).all(), "nor on what was drawn before"
    assert (first == again.batch(indices, 0)).all()


@pytest.mark.parametrize(("most", "made"), [(0.25, {0: [0, 1, 2], 1: [0]}), (0.0, {0: [0, 1, 1, 2, 0], 1: [0]})])
def test_a_view_is_made_once_unless_all_would_take_too_much(monkeypatch: pytest.MonkeyPatch, most: float, made: dict) -> None:
    monkeypatch.setattr(views_module, "_MOST_OF_DISK", most)
    images = np.random.default_rng(0).integers(0, 255, (6, 3, 16, 16), dtype=np.uint8)
    views = Views(images, Augment(hflip=True), seed=1)
    found: dict[int, list[int]] = {}
    one = views._transformed
    monkeypatch.setattr(
        views, "_transformed", lambda image, index, view: (found.setdefault(view, []).append(index), one(image, index, view))[1]
    )
    batches = [(np.array(indices), view) for indices, view in (([0, 1], 0), ([1, 2, 0], 0), ([0], 1))]
    answers = [views.batch(*batch) for batch in batches]
    assert found == made
    monkeypatch.setattr(views_module, "_MOST_OF_DISK", 0.0)
    for batch, answer in zip(batches, answers, strict=True):
        assert (answer == Views(images, Augment(hflip=True), seed=1).batch(*batch)).all()


def test_a_table_of_images_with_splits_fields_and_rows_without_a_label(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", {"x": 12})
    splits = ["train"] * 6 + ["val"] * 2 + ["holdout"] * 2 + ["train"] * 2
    rows = [f"photos/x/{i}.png,{('cat', 'dog')[i % 2] if i < 10 else ''},{splits[i]},{('in', 'out')[i % 2]}" for i in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,part,place", *rows]))
    found = sources.table(tmp_path / "t.csv", image="image", label="label", split="part")
    data = imageset.prepare(found, tmp_path / "run", image_size=16, fractions=FRACTIONS, seed=0)
    assert data.classes == ["cat", "dog"]
    assert data.labels.tolist() == [0, 1] * 5 + [-1, -1]
    assert [data.indices[s].tolist() for s in sources.SPLITS] == [[0, 1, 2, 3, 4, 5, 10, 11], [6, 7], [8, 9]]
    assert imageset.load(tmp_path / "run").fields["place"].tolist() == ["in", "out"] * 6
    for change, error in (
        (("photos/x/3.png", "photos/x/33.png"), r"1 image\(s\) are not there: line 5"),
        (("image,label,part", "image,label,parts"), "no column part, found image, label, parts, place"),
        ((",train,", ",training,"), "column part has training, expected train, val or holdout"),
    ):
        (tmp_path / "bad.csv").write_text("\n".join(["image,label,part,place", *rows]).replace(*change))
        with pytest.raises(UserError, match=error):
            sources.table(tmp_path / "bad.csv", image="image", label="label", split="part")


def test_images_without_a_label_only_train(tmp_path: Path) -> None:
    labelled = sources.imagefolder(write_images(tmp_path / "data", {"cat": 5, "dog": 5}))
    write_images(tmp_path / "more", {"deep": 7})
    found = sources.with_unlabelled(labelled, tmp_path / "more")
    data = imageset.prepare(found, tmp_path / "run", image_size=16, fractions=FRACTIONS, seed=0)
    assert {name: len(i) for name, i in data.indices.items()} == {"train": 13, "val": 2, "holdout": 2}
    assert (data.labels[10:] == -1).all()
    assert set(range(10, 17)) <= set(data.indices["train"].tolist())
    with pytest.raises(UserError, match="no images in"):
        sources.with_unlabelled(labelled, tmp_path / "run")
    np.savez(tmp_path / "d.npz", images=np.zeros((4, 4, 4), np.uint8), labels=[0, 1, 0, -1], split=[0, 0, 1, 1])
    with pytest.raises(UserError, match="of val or holdout have no label"):
        imageset.assign_splits(sources.npz(tmp_path / "d.npz"), FRACTIONS, 0)


def test_views_that_are_not_kept_are_the_same_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_module.Kept, "write", lambda *_: pytest.fail("a view was kept"))
    images = np.random.default_rng(0).integers(0, 255, (6, 3, 16, 16), dtype=np.uint8)
    views = Views(images, Augment(hflip=True), seed=1)
    once = views.batch(np.array([2, 4]), 3, keep=False)
    monkeypatch.undo()
    assert torch.equal(once, Views(images, Augment(hflip=True), seed=1).batch(np.array([2, 4]), 3))


def test_tar_shards_of_images_and_classes(tmp_path: Path) -> None:
    pictures = write_images(tmp_path / "src", {"x": 12})

    def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))

    for shard in range(2):
        with tarfile.open(tmp_path / f"s-{shard:03}.tar", "w") as tar:
            for i in range(6):
                number = 6 * shard + i
                add(tar, f"dir/{number:05}.png", (pictures / "x" / f"{number}.png").read_bytes())
                if number != 11:
                    add(tar, f"dir/{number:05}.cls", b"10" if number % 2 else b"9")
    found = shards.webdataset(str(tmp_path / "s-{000..001}.tar"))
    assert found.classes == ["9", "10"]
    assert found.labels.tolist() == [0, 1] * 5 + [0, -1]
    for i in (0, 7):
        assert np.array_equal(np.asarray(found.read(i)), np.asarray(Image.open(pictures / "x" / f"{i}.png")))
    assert shards.webdataset(str(tmp_path / "s-*.tar")).labels.tolist() == found.labels.tolist()
    with pytest.raises(UserError, match="no file matches"):
        shards.webdataset(str(tmp_path / "t-*.tar"))
    (tmp_path / "bad-0.tar").write_bytes(b"x" * 2000)
    with pytest.raises(UserError, match="not a readable, uncompressed tar file"):
        shards.webdataset(str(tmp_path / "bad-*.tar"))


def test_a_saved_hugging_face_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write_images(tmp_path / "src", {"x": 9})
    files = [str(tmp_path / "src/x" / f"{i}.png") for i in range(9)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    parts = {"train": range(6), "test": range(6, 9)}
    made = {
        name: datasets.Dataset.from_dict({"image": [files[i] for i in rows], "label": [i % 2 for i in rows]}, features=features)
        for name, rows in parts.items()
    }
    datasets.DatasetDict(made).save_to_disk(tmp_path / "saved")
    found = hub.huggingface(str(tmp_path / "saved"), image="image", label="label")
    assert found.classes == ["cat", "dog"]
    assert found.labels.tolist() == [i % 2 for i in range(9)]
    assert found.split.tolist() == [0] * 6 + [2] * 3
    assert np.array_equal(np.asarray(found.read(7)), np.asarray(Image.open(files[7])))
    assert found.version == hub.huggingface(str(tmp_path / "saved"), image="image", label="label").version
    with pytest.raises(UserError, match="has no column img, found image, label"):
        hub.huggingface(str(tmp_path / "saved"), image="img", label="label")
    with pytest.raises(UserError, match="is no dataset that can be loaded"):
        hub.huggingface(str(tmp_path / "src" / "nowhere"), image="image", label="label")
