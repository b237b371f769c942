"""Data that do not fit: read and written a part at a time, decoded as they are used, made ahead by processes; always the same bytes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_engine import LABELS, Plain, lesson

from edgedistill import threads, workers
from edgedistill.distill.trainer import Options, fit
from edgedistill.errors import UserError
from edgedistill.rows import Rows, read_rows, writing
from edgedistill.tasks.image_classification import duplicates, encoded, imageset, listing, sources
from edgedistill.tasks.image_classification.dataset import ImageDataset
from edgedistill.tasks.image_classification.recipe.data import Augment, Data
from edgedistill.tasks.loading import Loader, Request


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of 12 images each, which differ."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i:02}.png")
    return tmp_path / "pictures"


def prepared(pictures: Path, folder: Path) -> imageset.ImageSet:
    return imageset.prepare(sources.imagefolder(pictures), folder, image_size=16, fractions=(0.25, 0.25), seed=0)


def test_rows_are_those_of_the_file_however_they_are_asked_for(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(7, 3, 2)).astype(np.float32)
    with writing(tmp_path / "x.npy", np.float32, values.shape) as write:
        write(values[:4])
        write(values[4:])
    rows = Rows(tmp_path / "x.npy")
    assert (np.load(tmp_path / "x.npy") == values).all()
    for key in (2, -1, slice(2, 5), slice(None, None, 2), np.array([6, 0, -2]), values[:, 0, 0] > 0, (slice(None), 1), (3, 1), []):
        expected = values[np.array(key, int) if isinstance(key, list) else key]
        assert (rows[np.array(key, int) if isinstance(key, list) else key] == expected).all(), key
    with pytest.raises(IndexError, match="outside of the 7"):
        rows[np.array([7])]
    assert read_rows(tmp_path)["x"].shape == (7, 3, 2)


def test_a_file_that_lacks_rows_is_not_left_and_one_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 1 rows"), writing(tmp_path / "x.npy", np.uint8, (2, 4)) as write:
        write(np.zeros((1, 4), np.uint8))
    assert not list(tmp_path.iterdir())
    np.save(tmp_path / "x.npy", np.zeros((9, 4)))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-5])
    with pytest.raises(ValueError, match="was cut off"):
        Rows(tmp_path / "x.npy")


def test_work_comes_in_its_order_from_any_number_of_processes() -> None:
    items = list(range(23))
    assert all(list(workers.ordered(lambda item: item * item, items, count)) == [i * i for i in items] for count in (0, 1, 3))

    def refuse(item: int) -> int:
        if item == 5:
            raise UserError("found 5, expected another number")
        return item

    state = torch.get_rng_state()
    with pytest.raises(UserError, match=r"^found 5, expected another number$"):
        list(workers.ordered(refuse, items, 2))
    assert (torch.get_rng_state() == state).all(), "the generator of the training must not notice"


def test_images_decoded_by_processes_or_as_they_are_used_are_the_same(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(imageset, "_AT_ONCE", 5)
    found = {}
    for count in (1, 3):
        monkeypatch.setattr("edgedistill.cores.available", lambda count=count: count)
        found[count] = prepared(pictures, tmp_path / str(count))
    assert found[1].sha256 == found[3].sha256
    assert not (tmp_path / "1" / "prints").exists()
    monkeypatch.setattr(imageset, "_MOST_OF_DISK", 0.0)
    used = prepared(pictures, tmp_path / "encoded")
    assert isinstance(used.images, encoded.Encoded)
    assert "decoded again whenever they are used" in capsys.readouterr().err
    assert not (tmp_path / "encoded" / "images.npy").exists()
    assert used.sha256 == found[1].sha256
    data = Data.model_validate({"source": {"imagefolder": str(pictures)}})
    again = ImageDataset(imageset.load(tmp_path / "encoded", lambda: listing.listing(data)), Augment(), 0)
    decoded, indices = ImageDataset(found[1], Augment(), 0), np.array([3, 20, 0])
    assert again.facts.encoded
    assert torch.equal(again.batch(indices, 1).inputs["image"], decoded.batch(indices, 1).inputs["image"])
    Image.new("RGB", (20, 20), "red").save(pictures / "cat" / "03.png")
    with pytest.raises(UserError, match=r"03\.png changed since the run read it"):
        again.batch(indices, None)


def test_batches_do_not_depend_on_who_makes_them(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = prepared(pictures, tmp_path / "data")
    requests = [Request(indices, view) for view in (0, 1) for indices in np.array_split(np.arange(24), 6)]
    monkeypatch.setattr("edgedistill.tasks.loading._WORTH_S", 0.0)
    monkeypatch.setattr("edgedistill.tasks.loading._WORTH_SHARE", 0.0)
    given = {}
    for spare in (0, 2):
        monkeypatch.setattr(threads, "spare", lambda spare=spare: spare)
        loader = Loader(ImageDataset(images, Augment(), 0))
        given[spare] = [batch.inputs["image"] for batch in loader.batches(requests)]
        assert (loader.count > 0) == (spare > 0)
    for alone, together in zip(given[0], given[2], strict=True):
        assert torch.equal(alone, together)
        assert alone.stride() == together.stride()


def test_training_gives_the_same_bytes_with_worker_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedistill.tasks.loading._WORTH_S", 0.0)
    monkeypatch.setattr("edgedistill.tasks.loading._WORTH_SHARE", 0.0)
    weights = []
    for spare in (0, 2):
        monkeypatch.setattr(threads, "spare", lambda spare=spare: spare)
        module = torch.nn.Sequential(torch.nn.Dropout(0.5), Plain())
        curve = fit(module, lesson(4), LABELS, name="student", path=tmp_path / f"{spare}.safetensors", options=Options())
        weights.append(module[1].net[1].weight.detach())
        assert all((record["loaders"] > 0) == (spare > 0) for record in curve)
        assert all(0 <= record["busy"] <= 1 and record["samples_per_s"] > 0 for record in curve)
    assert torch.equal(*weights)


def old_findings(prints: dict[str, np.ndarray], split: np.ndarray, labels: np.ndarray) -> dict[str, set[int]]:
    """Every pair, held to each other one by one."""
    found: dict[str, set[int]] = {"val": set(), "holdout": set(), "double": set()}
    bits, grey, exact = prints["bits"], prints["grey"].astype(float), prints["exact"]
    for a in range(len(split)):
        for b in range(a + 1, len(split)):
            if (exact[a] == exact[b]).all() or np.bitwise_count(bits[a] ^ bits[b]).sum() > 6:
                continue
            if np.abs((grey[a] - grey[a].mean()) - (grey[b] - grey[b].mean())).mean() > 1.5:
                continue
            for one, other in ((a, b), (b, a)):
                if split[one] == 0 and split[other]:
                    found["val" if split[other] == 1 else "holdout"].add(other)
            if labels[a] != labels[b]:
                found["double"].add(a)
    return found


def test_duplicates_are_found_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (60, 3, 32, 32), dtype=np.uint8)
    pixels[40:] = np.clip(pixels[:20].astype(int) + 3, 0, 255)
    pixels[50] = pixels[1]
    parts = [duplicates.fingerprint(image) for image in pixels]
    prints = {name: np.stack([getattr(part, name) for part in parts]) for name in duplicates.COLUMNS}
    split, labels = rng.integers(0, 3, 60).astype(np.int8), rng.integers(0, 2, 60)
    expected = old_findings(prints, split, labels)
    assert all(expected.values())
    for rows in (2**16, 7):
        monkeypatch.setattr(duplicates, "_ROWS", rows)
        marks = duplicates._Marks(split, labels)
        duplicates._near(prints, marks)
        found = {**marks.seen, "double": marks.double}
        assert {name: set(np.flatnonzero(marked).tolist()) for name, marked in found.items()} == expected
        same = duplicates._Marks(split, labels)
        duplicates._equal(prints, same)
        assert same.matters(np.array([1]), np.array([50]))[0] == any(m.any() for m in (*same.seen.values(), same.double))


MEMORY = """
import re, sys
from pathlib import Path
import numpy as np
from edgedistill.tasks.image_classification import imageset, sources

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

rng = np.random.default_rng(0)
pixels = rng.integers(0, 255, (64, 96, 96, 3), dtype=np.uint8)
for count in (100, 800):
    found = sources.Listing("made", ["a", "b"], np.arange(count) % 2, np.full(count, -1, np.int8), sources.Named(count, str),
                            lambda i: pixels[i % 64] ^ np.uint8(i // 64))
    images = imageset.prepare(found, Path(sys.argv[1], str(count)), image_size=96, fractions=(0.1, 0.1), seed=0)
    for start in range(0, count, 64):
        images.images[start : start + 64].sum()
    print(peak())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the largest memory of a process is read from Linux")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    # 800 images of 96 pixels are 21 MiB.
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True)
    few, many = map(float, done.stdout.split())
    assert many - few < 10
