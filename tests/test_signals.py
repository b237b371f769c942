"""The signal cache: computed once, kept in little room, refused or repaired when it is not what it says."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_disks import mounted

from edgedistill.errors import StorageFailed, UserError
from edgedistill.recipe.stages import Cache
from edgedistill.tasks.image_classification.dataset import ImageDataset
from edgedistill.tasks.image_classification.imageset import ImageSet
from edgedistill.tasks.image_classification.recipe.data import Augment
from edgedistill.teach import cache as cache_module
from edgedistill.teach.cache import CachedSignals, cache_folder, compute
from edgedistill.teach.encoding import Plain, TopK

FACTS = {"teacher": "t", "data": "d", "seed": 0}
ROWS = 1100
"""More than two chunks."""


@pytest.fixture(scope="module")
def data() -> ImageSet:
    images = np.random.default_rng(0).integers(0, 255, (ROWS + 10, 3, 4, 4), dtype=np.uint8)
    indices = {"train": np.arange(10, ROWS + 10), "val": np.arange(10), "holdout": np.arange(0)}
    return ImageSet("test", ["a", "b", "c"], images, np.zeros(ROWS + 10, np.int64), indices, "d", {})


class Asked:
    """A teacher of two linear signals that counts the images it was shown."""

    def __init__(self, value: Callable[[torch.Tensor], torch.Tensor] = lambda x: x) -> None:
        self.images, self.made, self.value = 0, 0, value

    def make(self, signals: list[str]) -> "Asked":
        self.made += 1
        return self

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        images = inputs["image"]
        self.images += len(images)
        flat = images.flatten(1)
        return {"logits": self.value(flat[:, :3] * 8), "embedding": flat[:, 3:9]}


def ask(teacher: Asked, data: ImageSet, folder: Path, *, views: int = 2, facts: Any = FACTS, **options: Any) -> CachedSignals:
    signals = options.pop("signals", frozenset({"logits"}))
    shown = ImageDataset(data, Augment(shift=0, rotate=0, scale=0), 0)
    asked: dict[str, Any] = {"signals": signals, "scores": frozenset({"logits"}), "count": views, "seed": 5}
    return compute(teacher.make, facts, shown, **asked, folder=folder, options=Cache(**options), batch_size=64)


def test_the_folder_changes_with_whatever_the_answers_depend_on() -> None:
    folders = {cache_folder(Path(), FACTS | change) for change in ({}, {"teacher": "u"}, {"data": "e"}, {"seed": 1})}
    assert len(folders) == 4


def test_signals_are_asked_once_and_are_the_teachers(data: ImageSet, tmp_path: Path) -> None:
    teacher = Asked()
    found = ask(teacher, data, tmp_path, dtype="float32")
    assert teacher.images == 2 * ROWS + 2, "two more tell the shapes"
    batch = data.indices["train"][[700, 3]]
    expected = data.images[batch].reshape(2, -1)[:, :3].astype(np.float32) / np.float32(255) * 8
    assert found.batch(batch, 1)["logits"] == pytest.approx(expected)
    again = Asked()
    assert ask(again, data, tmp_path, dtype="float32").batch(batch, 1)["logits"] == pytest.approx(expected)
    assert again.made == 0, "a warm cache does not load the teacher"
    ask(again, data, tmp_path, dtype="float32", views=3)
    assert again.images == ROWS, "only the view that was missing is asked for"


def test_another_signal_extends_a_cache(data: ImageSet, tmp_path: Path) -> None:
    ask(Asked(), data, tmp_path)
    found = ask(Asked(), data, tmp_path, signals=frozenset({"logits", "embedding"}))
    assert found.batch(data.indices["train"][:4], 0)["embedding"].shape == (4, 6)


def test_float16_keeps_logits_within_a_thousandth(data: ImageSet, tmp_path: Path) -> None:
    halves, whole = ask(Asked(), data, tmp_path / "a"), ask(Asked(), data, tmp_path / "b", dtype="float32")
    rows = data.indices["train"]
    assert halves.batch(rows, 0)["logits"] == pytest.approx(whole.batch(rows, 0)["logits"], abs=4e-3)
    sizes = [sum(p.stat().st_size for p in (tmp_path / name).glob("view-0*[0-9]")) for name in "ab"]
    assert sizes == [ROWS * 3 * 2, ROWS * 3 * 4]
    with pytest.raises(UserError, match="more than float16 can hold"):
        Plain("float16", (3,)).encode(np.full((1, 3), 1e5, np.float32), np.zeros(1, int), 0)


def test_top_k_keeps_the_largest_and_shares_the_rest() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 1000)).astype(np.float32) * 4
    encoding = TopK(16, 1000)
    rows = encoding.encode(logits, np.arange(50), 0)
    assert rows.dtype.itemsize == 16 * 2 + 17 * 2
    p = np.exp(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    q = np.exp(encoding.decode(rows))
    assert q.sum(axis=1) == pytest.approx(1, abs=5e-3)
    for before, after in zip(p, q, strict=True):
        top = np.argsort(-before)
        assert after[top[:16]] == pytest.approx(before[top[:16]], rel=5e-3)
        assert after[top[16:]] == pytest.approx(np.full(984, before[top[16:]].sum() / 984), rel=2e-2)


def test_top_k_is_used_where_there_are_more_classes(data: ImageSet, tmp_path: Path) -> None:
    found = ask(Asked(), data, tmp_path, top_k=2)
    assert list(tmp_path.glob("view-0.logits.top2"))
    logits = found.batch(data.indices["train"][:5], 0)["logits"]
    exact = ask(Asked(), data, tmp_path / "b", dtype="float32").batch(data.indices["train"][:5], 0)["logits"]
    shifted = exact - np.log(np.exp(exact).sum(axis=1, keepdims=True))
    assert logits == pytest.approx(shifted, abs=1e-2), "with three classes the left-over mass is the third"


def test_drawn_classes_are_the_same_however_the_cache_came_about(data: ImageSet, tmp_path: Path) -> None:
    found = ask(Asked(), data, tmp_path, sampled=2)
    assert list(tmp_path.glob("view-1.logits.sampled2-seed5"))
    rows = data.indices["train"]
    answers = [found.batch(rows, view)["logits"] for view in range(2)]
    assert (answers[0] != answers[1]).any()
    assert (ask(Asked(), data, tmp_path / "b", sampled=2, views=1).batch(rows, 0)["logits"] == answers[0]).all()
    assert (ask(Asked(), data, tmp_path / "b", sampled=2).batch(rows, 1)["logits"] == answers[1]).all()
    alike = ask(Asked(lambda x: x * 0), data, tmp_path / "d", sampled=2, views=1).batch(rows, 0)["logits"]
    assert (alike[:64] != alike[64:128]).any(), "each sample has draws of its own"
    exact = ask(Asked(), data, tmp_path / "c", dtype="float32").batch(rows, 0)["logits"].astype(float)
    p = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    assert np.exp(answers[0]).mean(axis=0) == pytest.approx(p.mean(axis=0), abs=0.03)


def test_an_interrupted_cache_goes_on(data: ImageSet, tmp_path: Path) -> None:
    class Tired(Asked):
        def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            if self.images > 700:
                raise KeyboardInterrupt
            return super().__call__(inputs)

    with pytest.raises(KeyboardInterrupt):
        ask(Tired(), data, tmp_path, views=1)
    teacher = Asked()
    ask(teacher, data, tmp_path, views=1)
    assert teacher.images == ROWS - 512


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "sums", "mark"])
def test_a_damaged_cache_is_repaired(data: ImageSet, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = ask(Asked(), data, tmp_path).batch(data.indices["train"], 1)["logits"]
    path = tmp_path / "view-1.logits.float16"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "mark":
        (tmp_path / "signals.json").write_text('{"schema": "edge')
    elif damage == "sums":
        path.with_name(path.name + ".json").write_text('{"0": "12')
    else:
        path.write_bytes(content[:5000] if damage == "cut" else content[:100] + b"\x01" + content[101:])
    teacher = Asked()
    found = ask(teacher, data, tmp_path)
    assert (found.batch(data.indices["train"], 1)["logits"] == expected).all()
    assert teacher.images == {"cut": ROWS - 512, "changed": 512, "gone": ROWS, "sums": ROWS, "mark": 2}[damage]
    if damage == "changed":
        assert "1 of 3 parts of view-1.logits.float16 are damaged" in capsys.readouterr().err


def test_a_cache_of_another_teacher_is_refused(data: ImageSet, tmp_path: Path) -> None:
    ask(Asked(), data, tmp_path)
    with pytest.raises(UserError, match=r"is of another teacher; remove the folder"):
        ask(Asked(), data, tmp_path, facts=FACTS | {"teacher": "someone"})


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_teacher_that_answers_nonsense_is_refused(data: ImageSet, tmp_path: Path, wrong: float) -> None:
    with pytest.raises(UserError, match=r"NaN or infinity \(logits, view 0\)"):
        ask(Asked(lambda x: torch.full_like(x, wrong)), data, tmp_path)


def test_a_cache_larger_than_the_disk_is_refused_before_it_is_written(
    data: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageFailed, match=r"needs 0.0132 MB .* are free; free some, .* or lower data.views"):
        ask(Asked(), data, tmp_path)
    assert not list(tmp_path.glob("view-*"))


def test_a_disk_that_is_full_while_a_cache_is_written_ends_no_process(
    data: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another process took the room after it was looked for.
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=16k", "tmpfs") as folder:
        teacher = Asked()
        with pytest.raises((OSError, StorageFailed), match=r"No space left|the disk is full"):
            ask(teacher, data, folder / "cache", dtype="float32")
        assert 0 < teacher.images < ROWS * 2
        subprocess.run(["mount", "-o", "remount,size=1m", str(folder)], check=True)
        again = Asked()
        expected = ask(Asked(), data, tmp_path / "other", dtype="float32").batch(data.indices["train"], 1)["logits"]
        assert (ask(again, data, folder / "cache", dtype="float32").batch(data.indices["train"], 1)["logits"] == expected).all()
        assert again.images <= ROWS * 2


def test_a_file_of_holes_does_not_count_as_written(data: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(Asked(), data, tmp_path)
    for path in [path for path in tmp_path.glob("view-*") if path.suffix != ".json"]:
        size = path.stat().st_size
        path.write_bytes(b"")
        os.truncate(path, size)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10_000}))
    with pytest.raises(StorageFailed, match=r"needs 0.0132 MB .* are free"):
        ask(Asked(), data, tmp_path)
