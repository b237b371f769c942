"""Traps of data sets are told: duplicates across splits and classes, folders that look like splits, names that are no text."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedistill.errors import UserError
from edgedistill.tasks.data import SPLITS
from edgedistill.tasks.image_classification import imageset
from edgedistill.tasks.image_classification.sources import imagefolder

RANDOM = np.random.default_rng(0)


def photo(side: int = 48) -> Image.Image:
    coarse = RANDOM.integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def folder(root: Path) -> Path:
    for split in SPLITS:
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for i in range(3):
                photo().save(root / split / name / f"{i}.png")
    return root


def warnings(root: Path, out: Path) -> list[str]:
    return imageset.prepare(imagefolder(root), out, image_size=32, fractions=(0.2, 0.2), seed=0).warnings


def test_data_without_duplicates_have_no_warning(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    # Images without any contrast look alike.
    for i, shade in enumerate((0, 90, 200)):
        Image.new("RGB", (48, 48), (shade,) * 3).save(root / SPLITS[i] / "cat" / "plain.png")
    assert warnings(root, tmp_path / "out") == []


def test_the_same_and_nearly_the_same_image_in_two_splits_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    seen = Image.open(root / "train" / "cat" / "0.png")
    seen.save(root / "holdout" / "cat" / "copy.png")
    seen.resize((96, 96), Image.Resampling.BICUBIC).point(lambda value: min(255, value + 6)).save(
        root / "val" / "cat" / "near.jpg", quality=95
    )
    found = warnings(root, tmp_path / "out")
    assert any(text.startswith("1 image of holdout is the same as one of train: ") and "copy.png" in text for text in found), found
    assert any(text.startswith("1 image of val is nearly the same as one of train: ") and "near.jpg" in text for text in found), found


def test_an_image_under_two_classes_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    Image.open(root / "train" / "cat" / "1.png").save(root / "train" / "dog" / "cat too.png")
    (found,) = warnings(root, tmp_path / "out")
    assert found.startswith("1 image stands under two classes, where the images are the same: ")
    assert "1.png" in found


@pytest.mark.parametrize(
    "names", [("train", "test"), ("Train", "Val"), ("train", "validation"), ("TRAIN", "TEST"), ("Training", "Testing")]
)
def test_folders_that_look_like_splits_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    for split in names:
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            photo().save(tmp_path / split / name / "0.png")
    with pytest.raises(UserError, match=r"found the folders .*expected train, val and holdout.*test images are the holdout"):
        imagefolder(tmp_path)


def test_handwritten_digits_are_not_taken_for_each_other(tmp_path: Path) -> None:
    from edgedistill.tasks.image_classification.sources import digits

    assert imageset.prepare(digits(), tmp_path, image_size=32, fractions=(0.2, 0.2), seed=0).warnings == []


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    for name in ("test", "exam"):
        (tmp_path / name).mkdir()
        photo().save(tmp_path / name / "0.png")
    assert imagefolder(tmp_path).classes == ["exam", "test"]


def test_a_class_whose_name_is_no_text_is_refused_when_listed(tmp_path: Path) -> None:
    for name in (b"caf\xe9", b"tea"):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(path)
        photo().save(os.fsdecode(os.path.join(path, b"0.png")))
    with pytest.raises(UserError, match="is not UTF-8; rename it"):
        imagefolder(tmp_path)
