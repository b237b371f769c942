"""Images are read as people see them, or refused with the name of the file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedistill.errors import UserError
from edgedistill.tasks.image_classification import imageset
from edgedistill.tasks.image_classification.decoding import read
from edgedistill.tasks.image_classification.sources import imagefolder

WHITE, RED, GREY = (255, 255, 255), (200, 0, 0), (128, 128, 128)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def pixel(path: Path, x: int = 0, y: int = 0) -> object:
    image = read(path)
    assert image.mode == "RGB"
    return image.getpixel((x, y))


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 128], [65535, 257 * 64]], np.uint16)
    for name in ("grey.png", "grey.tif"):
        path = saved(tmp_path / name, Image.fromarray(values))
        assert [pixel(path, x, y)[0] for y in (0, 1) for x in (0, 1)] == [0, 128, 255, 64], name
    exif = Image.Exif()
    exif[0x0112] = 3
    path = saved(tmp_path / "turned.png", Image.fromarray(values), exif=exif)
    assert [pixel(path, x, y)[0] for y in (0, 1) for x in (0, 1)] == [64, 255, 128, 0]


def test_floats_in_zero_to_one_are_scaled_and_others_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "unit.tif", Image.fromarray(np.array([[0, 0.5], [1, 0.25]], np.float32)))
    assert [pixel(path, x, y)[0] for y in (0, 1) for x in (0, 1)] == [0, 128, 255, 64]
    for largest in (255.0, np.nan, 1e9):
        path = saved(tmp_path / "wide.tif", Image.fromarray(np.array([[0, largest]], np.float32)))
        with pytest.raises(ValueError, match=r"expected 0\.\.1; convert it to 8 bits"):
            read(path)
    path = saved(tmp_path / "wide.tif", Image.fromarray(np.array([[0, 70000]], np.int32)))
    with pytest.raises(ValueError, match="whose white is not known"):
        read(path)


def test_an_image_is_turned_as_exif_says(tmp_path: Path) -> None:
    lying = Image.new("RGB", (40, 20), "black")
    lying.paste(WHITE, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read(saved(tmp_path / "phone.jpg", lying, exif=exif, quality=95))
    assert image.size == (20, 40)
    assert image.getpixel((10, 5))[0] > 250
    assert image.getpixel((10, 35))[0] < 5


def test_transparent_pixels_are_on_white(tmp_path: Path) -> None:
    hidden = Image.new("RGBA", (4, 4), (*RED, 0))
    assert pixel(saved(tmp_path / "a.png", hidden)) == WHITE
    assert pixel(saved(tmp_path / "a.webp", hidden, lossless=True, exact=True)) == WHITE
    assert pixel(saved(tmp_path / "la.png", Image.new("LA", (4, 4), (0, 0)))) == WHITE
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([*RED, *GREY])
    assert pixel(saved(tmp_path / "p.png", palette, transparency=0)) == WHITE
    assert pixel(saved(tmp_path / "p.gif", palette, transparency=0)) == WHITE
    assert pixel(saved(tmp_path / "opaque.png", palette)) == RED
    assert pixel(saved(tmp_path / "half.png", Image.new("RGBA", (4, 4), (0, 0, 0, 128)))) == (127, 127, 127)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "HSV"])
def test_other_kinds_of_pixels_become_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr", "LAB") else "x.png")
    image = Image.new("RGB", (4, 4), WHITE)
    saved(path, image if mode in ("LAB", "HSV") else image.convert(mode))
    assert pixel(path) == WHITE


def test_absurd_sizes_and_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="found 2 x 400 pixels"):
        read(saved(tmp_path / "line.png", Image.new("RGB", (2, 400))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match="make it smaller"):
        read(saved(tmp_path / "bomb.png", Image.new("RGB", (8, 8))))


def folder(root: Path) -> Path:
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for i in range(4):
            saved(root / name / f"{i}.png", Image.new("RGB", (8, 8), (100 * number + i,) * 3))
    return root


def test_hidden_files_are_skipped_and_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = folder(tmp_path / "pets")
    (root / "cat" / "._0.png").write_bytes(b"resource fork")
    (root / "cat" / "@eaDir").mkdir()
    (root / "cat" / "@eaDir" / "0.jpg").write_bytes(b"thumbnail")
    (root / "@eaDir").mkdir()
    (root / "__MACOSX").mkdir()
    listing = imagefolder(root)
    assert (listing.classes, len(listing.names)) == (["cat", "dog"], 8)
    assert "skipped 2 hidden file(s), such as ._0.png" in capfd.readouterr().err


def test_what_cannot_be_read_is_named_with_the_others(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    saved(root / "cat" / "wide.tif", Image.fromarray(np.array([[0, 9.0]], np.float32)))
    (root / "dog" / "phone.heic").write_bytes(b"not one")
    (root / "dog" / "cut.png").write_bytes((root / "dog" / "0.png").read_bytes()[:40])
    with pytest.raises(UserError, match="3 unreadable image") as raised:
        imageset.prepare(imagefolder(root), tmp_path / "out", image_size=8, fractions=(0.25, 0.25), seed=0)
    for part in ("wide.tif (found numbers from 0 to 9", "phone.heic (", "cut.png ("):
        assert part in str(raised.value)
