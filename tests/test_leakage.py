"""Leakage between a teaching set and a holdout: planted duplicates are found, other samples are not, and runs leave them out."""

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from edgedistill.errors import UserError
from edgedistill.recipe.loading import load_recipe
from edgedistill.records.leakage import Leakage, LeakageDocument
from edgedistill.runs import open_run
from edgedistill.steps.distill import prepared_data
from edgedistill.steps.leakage import leakage
from edgedistill.tasks.data import UNUSED
from edgedistill.teach.leakage.found import KINDS
from edgedistill.teach.leakage.images import ImageIndex
from edgedistill.teach.leakage.texts import TextIndex, normal
from edgedistill.teach.leakage.watch import SplitWatch

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def descriptions() -> list[str]:
    """Different real texts of at least 20 characters."""
    with gzip.open(ROOT / "benchmarks/data/debian_sections.jsonl.gz", "rt") as file:
        texts = [json.loads(line)["text"] for line, _ in zip(file, range(6000), strict=False)]
    return list({normal(text): text for text in texts if len(text) >= 20}.values())


def misspelt(text: str, draw: random.Random) -> str:
    words = text.split()
    place = draw.choice([place for place, word in enumerate(words) if len(word) >= 4])
    cut = draw.randrange(len(words[place]))
    words[place] = words[place][:cut] + words[place][cut + 1 :]
    return " ".join(words)


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "same": lambda text, draw: text.upper().replace(" ", "  ") + "!",
    "misspelt": misspelt,
    "one word more": lambda text, draw: f"please {text}",
    "two words swapped": lambda text, draw: " ".join([*text.split()[:-2], *text.split()[:-3:-1]]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_planted_texts_are_found(descriptions: list[str], change: str) -> None:
    draw = random.Random(0)
    kept = descriptions[:1000]
    planted = [CHANGES[change](text, draw) for text in kept[:300]]
    found = TextIndex([kept[:600], kept[600:]]).find([planted])
    assert len(found.samples) >= 0.95 * len(planted)
    assert (found.kept == found.samples).mean() > 0.9
    assert KINDS[np.bincount(found.kinds).argmax()] == ("same" if change == "same" else "near")


def test_texts_that_say_something_else_are_not_found() -> None:
    kept = ["set a timer for 5 minutes", "add milk to my shopping list", "call Anna", "how is the weather in Paris on Sunday"]
    others = ["set a timer for 50 minutes", "add bread to my shopping list", "call Ben", "how is the weather in Lagos on Sunday"]
    assert not len(TextIndex([kept]).find([others]).samples)
    found = TextIndex([kept]).find([["Ｓet a timer for ５ minutes!", "", "ok, add milk to my shopping list"], ["call Anna?"]])
    assert [(a, b, KINDS[kind]) for a, b, kind in zip(*(part.tolist() for part in found[:3]), strict=True)] == [
        (0, 0, "same"), (2, 1, "near"), (3, 2, "same"),
    ]  # fmt: skip


def test_a_passage_and_writings_without_blanks_are_found() -> None:
    draw = random.Random(1)
    page = " ".join("".join(draw.choices("abcdefghij", k=draw.randrange(3, 9))) for _ in range(60))
    chinese = "今天的天气很好我们去公园散步吧然后再去吃晚饭好不好呢"
    found = TextIndex([[page, chinese]]).find([[page[40:280], f"真的{chinese}吗", page[:30], "明天要下雨请带伞出门"]])
    assert found.samples.tolist() == [0, 1]
    assert [KINDS[kind] for kind in found.kinds] == ["part", "near"]


def test_no_text_and_no_image_are_no_error() -> None:
    assert not len(TextIndex([]).find([["a text"]]).samples)
    assert not len(TextIndex([["a text"]]).find([[], ["", "🙂"]]).samples)
    assert not len(ImageIndex([]).find([[np.zeros((8, 8, 3), np.uint8)]]).samples)


def scene(number: int, side: int = 96) -> np.ndarray:
    draw = np.random.default_rng(number)
    picture = Image.fromarray(np.broadcast_to(np.linspace(40, 200, side)[:, None, None], (side, side, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(9):
        x, y, width, height = draw.integers(0, side, 2).tolist() + draw.integers(8, side // 2, 2).tolist()
        pen.ellipse([x, y, x + width, y + height], fill=tuple(draw.integers(0, 255, 3).tolist()))
    return np.asarray(picture)


def test_planted_images_are_found_and_others_are_not() -> None:
    kept = [scene(number) for number in range(30)]
    index = ImageIndex([kept[:20], kept[20:]])
    smaller = [np.asarray(Image.fromarray(image).resize((64, 64))) for image in kept]
    crops = [image[8:86, 12:90].copy() for image in kept]
    for planted, kind, least in ((kept, "same", 1.0), (smaller, "near", 0.95), (crops, "part", 0.85)):
        found = index.find([planted])
        assert (found.samples == found.kept).sum() >= least * len(planted)
        assert KINDS[np.bincount(found.kinds).argmax()] == kind
    # The kept image may be the crop, too.
    assert len(ImageIndex([crops]).find([kept]).samples) >= 0.85 * len(kept)
    others = index.find([[scene(number) for number in range(100, 150)]])
    assert len(others.samples) <= 1
    assert index.searches_crops
    few = ImageIndex([kept], most_pairs=10)
    assert not len(few.find([crops]).samples)
    assert not few.searches_crops


def test_small_crops_of_images_with_many_edges_are_found() -> None:
    noise = np.random.default_rng(0)
    # Leaves: no pixel of the crop falls on one of the whole.
    kept = [
        np.asarray(Image.fromarray(noise.integers(0, 255, (24, 24, 3), np.uint8)).resize((160, 160), Image.Resampling.BICUBIC))
        for _ in range(10)
    ]
    found = ImageIndex([kept]).find([[image[31:119, 43:131] for image in kept]])
    assert len(found.samples) >= 9
    assert found.samples.tolist() == found.kept.tolist()
    assert {KINDS[kind] for kind in found.kinds} == {"part"}


def test_handwritten_digits_are_not_alike() -> None:
    digits = [np.repeat((image * 15).astype(np.uint8)[..., None], 3, axis=2) for image in load_digits().images]
    found = ImageIndex([digits[:300]]).find([digits[300:]])
    assert len(found.samples) <= 0.01 * 1497


def test_a_watch_leaves_out_what_a_later_split_has() -> None:
    texts = [
        "one text of train",
        "a text of two splits",
        "another text of all",
        "A text of two splits.",
        "another text of ALL",
        "another text: of all",
    ]
    split = np.array([0, 0, 0, 1, 1, 2], np.int8)
    watch = SplitWatch("remove")
    left = watch("texts", lambda: iter([texts[:4], texts[4:]]), split)
    assert left.tolist() == [0, UNUSED, UNUSED, 1, UNUSED, 2]
    assert watch.record.removed == 3
    assert [(part.split, part.same, part.kept) for part in watch.record.splits] == [("holdout", 2, 1), ("val", 1, 1)]
    assert [(one.sample, one.kept) for part in watch.record.splits for one in part.examples] == [(2, 5), (4, 5), (1, 3)]
    assert "2 samples (1 of train and 1 of val) stand in holdout too (2 the same): removed" in watch.warnings
    report = SplitWatch("report")
    assert (report("texts", lambda: iter([texts]), split) == split).all()
    assert report.record.removed == 0
    with pytest.raises(UserError, match="every one of val stands in a later split"):
        SplitWatch("remove")("texts", lambda: iter([["x y", "a b", "a b"]]), np.array([0, 1, 2]))


def prepared(folder: Path, data: dict, **fields: object) -> tuple[dict, Leakage]:
    """The result of the step `data`, and what leaked."""
    loaded = load_recipe({"name": "leaky", **fields, "data": data})
    with open_run(folder) as run:
        facts = prepared_data(run, loaded)
        return facts, Leakage.read(run.work("data", "leakage.json"))


def test_a_run_leaves_out_leaking_rows_of_texts(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{word} me the number {place}", "completion": "7", "part": "train"} for place, word in enumerate(["tell", "give"] * 6)
    ]
    rows += [
        {"prompt": "TELL me the number 4!", "completion": "8", "part": "holdout"},
        {"prompt": "what?", "completion": "9", "part": "val"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"source": {"jsonl": str(tmp_path / "rows.jsonl")}, "split_column": "part", "tokenizer": {"vocabulary": 300}, "length": 32}
    model = {
        "config": {"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    }
    made = {"task": "causal-lm", "student": model, "teacher": model}
    kept, record = prepared(tmp_path / "kept", data, **made)
    assert record.removed == 0
    assert [(part.split, part.same) for part in record.splits] == [("holdout", 1), ("val", 0)]
    assert kept["splits"] == {"train": 12, "val": 1, "holdout": 1}
    assert any("1 row (1 of train) stands in holdout too (1 the same)" in text for text in kept["warnings"])
    facts, record = prepared(tmp_path / "removed", {**data, "leakage": "remove"}, **made)
    assert facts["splits"] == {"train": 11, "val": 1, "holdout": 1}
    assert record.splits[0].examples[0].model_dump() == {"sample": 4, "kept": 12, "kind": "same", "likeness": 1.0}


def test_a_run_leaves_out_leaking_images(tmp_path: Path) -> None:
    images = np.stack([scene(number, 64) for number in range(12)])
    split = np.array([0] * 8 + [1] * 2 + [2] * 2)
    images[11] = images[3]
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(12) % 2, split=split)
    data = {"source": {"npz": str(tmp_path / "images.npz")}, "image_size": 64, "leakage": "remove"}
    facts, record = prepared(tmp_path / "run", data)
    assert facts["splits"] == {"train": 7, "val": 2, "holdout": 2}
    assert record.splits[0].examples[0].sample == 3
    assert sum("1 image (1 of train) stands in holdout too (1 the same): removed" in text for text in facts["warnings"]) == 1


def test_two_files_and_two_folders_are_compared(tmp_path: Path) -> None:
    train, holdout = tmp_path / "train.jsonl", tmp_path / "holdout.csv"
    train.write_text('{"text": "ein Haus am See"}\n{"text": "a house by the sea"}\n')
    holdout.write_text("text,n\nA house by the sea.,1\n")
    command = [sys.executable, "-m", "edgedistill", "leakage", "train.jsonl", "holdout.csv"]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr
    document = LeakageDocument.model_validate_json(done.stdout)
    assert (document.kind, document.columns, document.overlap.samples, document.overlap.same) == ("texts", ["text"], 2, 1)
    assert document.overlap.examples[0].sample == 1
    assert "house" not in done.stdout
    for name, numbers in (("a", range(4)), ("b", range(3, 6))):
        (tmp_path / name).mkdir()
        for number in numbers:
            Image.fromarray(scene(number)).save(tmp_path / name / f"{number}.png")
    compared = leakage(tmp_path / "a", tmp_path / "b")
    assert (compared.status, compared.kind, compared.overlap.same) == ("check_failed", "images", 1)
    assert leakage(tmp_path / "a", tmp_path / "a").overlap.same == 4
    with pytest.raises(UserError, match="expected two sets of one kind"):
        leakage(train, tmp_path / "a")
    (tmp_path / "odd.csv").write_text("n,x\n1,2\n")
    with pytest.raises(UserError, match="found the columns n, x, expected text or prompt"):
        leakage(tmp_path / "odd.csv", holdout)
