"""Texts of a run are without personal data before a tokenizer, a teacher or a cache reads them; so are a teacher's answers."""

import json
import re
import sqlite3
from collections.abc import Container, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedistill.errors import UserError
from edgedistill.files import read_arrays
from edgedistill.recipe.scrub import Scrub
from edgedistill.tasks.causal_lm.answers import collect as collecting
from edgedistill.tasks.causal_lm.answers.asking import Answer, Prompt, Usage
from edgedistill.tasks.causal_lm.answers.ledger import opened
from edgedistill.tasks.causal_lm.answers.recipe import Checks, Sampling
from edgedistill.tasks.causal_lm.answers.scrubbed import ScrubbedAnswers
from edgedistill.tasks.causal_lm.recipe import Data as Exchanged
from edgedistill.tasks.causal_lm.source import Exchanges
from edgedistill.tasks.text_classification.recipe import Data
from edgedistill.tasks.text_classification.source import LabelledTexts
from edgedistill.teach.scrub.base import Engine, Finding
from edgedistill.teach.scrub.pseudonyms import PSEUDONYM
from edgedistill.teach.scrub.scrubbing import Scrubbing

SECRET = "secret"


class Numbers(Engine):
    """Finds words with `secret` in them, and cannot read a text with the word `unreadable`."""

    name = "words"

    def identity(self, config: Scrub) -> str:
        return "1"

    def load(self, config: Scrub) -> "Numbers":
        return self

    def find(self, text: str, context: str | None = None) -> list[Finding]:
        if "unreadable" in text:
            raise TimeoutError(text)
        return [Finding(*match.span(), "name") for match in re.finditer(r"\w*secret\w*", text)]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scrub:
    monkeypatch.setattr("edgedistill.teach.scrub.base.engines", lambda: {"words": Numbers()})
    (tmp_path / "key").write_text("k" * 64)
    return Scrub(engine="words", key=tmp_path / "key")


def _table(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Path]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"jsonl": path}


def test_no_file_of_prepared_texts_has_personal_data(config: Scrub, tmp_path: Path) -> None:
    rows = [{"text": f"good {SECRET}{i % 7} film number {i}", "label": "ab"[i % 2]} for i in range(40)]
    rows[3]["text"] = rows[5]["text"] = f"unreadable {SECRET}"
    data = Data(source=_table(tmp_path, rows), tokenizer={"vocabulary": 300}, length=24, scrub=config)
    source, plain = LabelledTexts(data, None), LabelledTexts(data.model_copy(update={"scrub": None}), None)
    facts = source.prepare(tmp_path / "data", 0)
    assert sum(facts.splits.values()) == 38
    assert facts.personal is not None
    assert facts.personal.model_dump() == {"engine": "words", "found": {"name": 38}, "values": {"name": 7}, "dropped": {"TimeoutError": 2}}
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not [path.name for path in files if SECRET.encode() in path.read_bytes()]
    # The tokenizer learned pseudonyms in its place, and the same without scrubbing is seen.
    plain.prepare(tmp_path / "plain", 0)
    assert SECRET in (tmp_path / "plain" / "tokenizer.json").read_text()
    # Labels stay with their texts.
    assert read_arrays(tmp_path / "data")["logits"].tolist() == [i % 2 for i in range(40) if i not in (3, 5)]
    assert source.fingerprint != plain.fingerprint


def test_a_missing_text_is_told_and_a_missing_column_too(config: Scrub, tmp_path: Path) -> None:
    source = _table(tmp_path, [{"text": "fine", "label": "a"}, {"text": None, "label": "b"}])
    with pytest.raises(UserError, match="row 2: no text in text"):
        LabelledTexts(Data(source=source, tokenizer={"vocabulary": 300}, scrub=config), None).splits()
    with pytest.raises(UserError, match="no column 'words', expected one of text, label"):
        LabelledTexts(Data(source=source, text="words", scrub=config), None).splits()


def test_a_dataset_with_splits_loses_rows_with_their_split(config: Scrub, tmp_path: Path) -> None:
    import datasets

    made = {name: datasets.Dataset.from_dict({"text": texts}) for name, texts in {"train": ["a", "unreadable"], "test": ["b"]}.items()}
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "saved"))
    source = Exchanges(Exchanged(source={"datasets": str(tmp_path / "saved")}, prompt=None, completion="text", scrub=config), None)
    assert source.table.splits == ["train", "holdout"]
    assert [exchange.answer for exchange in source.exchanges()] == ["a", "b"]


def test_conversations_are_scrubbed_message_by_message(config: Scrub, tmp_path: Path) -> None:
    said = [{"role": "user", "content": f'I am "{SECRET}1"\n{SECRET}2'}, {"role": "assistant", "content": f"Hello {SECRET}1"}]
    data = Exchanged(source=_table(tmp_path, [{"messages": said}]), messages="messages", scrub=config)
    [exchange] = Exchanges(data, None).exchanges()
    user, answer = exchange.messages[0]["content"], exchange.answer
    assert PSEUDONYM.sub("P", user) == 'I am "P"\nP'
    assert answer == "Hello " + PSEUDONYM.findall(user)[0]


class Parrot:
    """Repeats the prompt. Its first attempt at each breaks off."""

    model = "parrot"
    top_logprobs = 1

    def ask(self, prompts: Sequence[Prompt], sampling: Sampling, answered: Container[tuple[str, int]] = frozenset()) -> Generator[Answer]:
        for prompt in prompts:
            if (prompt.key, 0) not in answered:
                usage, told = Usage(1, 1), [{"token": prompt.text, "logprob": 0.0}]
                text = prompt.text or ""
                yield Answer(prompt.key, 0, text[:-2], False, None, usage, 0.1, "now", "here", told)
                yield Answer(prompt.key, 0, text, True, "stop", usage, 0.1, "now", "here", told)


def test_answers_are_scrubbed_before_they_are_recorded(config: Scrub, tmp_path: Path) -> None:
    # As if the teacher knew them by itself: prompts of a run have none.
    prompts = [Prompt(text=text) for text in (f"to {SECRET}1", "plain", f"unreadable {SECRET}2", f'{{"to": "{SECRET}3"}}')]
    cleaner = ScrubbedAnswers(Scrubbing(config))
    path = tmp_path / "answers.sqlite"
    with opened(path) as ledger:
        counts = collecting.collect(prompts, Parrot(), Sampling(), Checks(), ledger, cleaner)
        kept = {text: provenance.top_logprobs for _, text, provenance in collecting.kept(ledger)}
    assert (counts.kept, counts.dropped, cleaner.replaced) == (3, {"scrub": 1}, {"name": 2})
    assert sorted(PSEUDONYM.sub("P", text) for text in kept) == ["plain", "to P", '{"to": "P"}']
    assert kept["plain"] is not None
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    files = [*tmp_path.glob("answers.sqlite*")]
    assert not [file.name for file in files if SECRET.encode() in file.read_bytes()]


def test_answers_that_were_recorded_without_scrubbing_are_asked_again(config: Scrub, tmp_path: Path) -> None:
    with opened(tmp_path / "answers.sqlite") as ledger:
        plain, cleaner = [Prompt(text=f"to {SECRET}1")], ScrubbedAnswers(Scrubbing(config))
        assert collecting.collect(plain, Parrot(), Sampling(), Checks(), ledger).answered == 1
        assert collecting.collect(plain, Parrot(), Sampling(), Checks(), ledger, cleaner).answered == 1
        assert collecting.collect(plain, Parrot(), Sampling(), Checks(), ledger, cleaner).recorded == 1
        assert not [text for _, text, _ in collecting.kept(ledger) if SECRET in text]


def test_image_files_lose_what_is_written_about_them(tmp_path: Path) -> None:
    from PIL import Image, PngImagePlugin

    from edgedistill.steps.scrub import scrub

    source, out = tmp_path / "in" / "a", tmp_path / "out"
    source.mkdir(parents=True)
    draw = np.random.default_rng(0)
    image = Image.fromarray(draw.integers(0, 255, (24, 40, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, f"camera {SECRET}"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 14.0)
    told = PngImagePlugin.PngInfo()
    told.add_text("Author", SECRET)
    profile = b"profile" * 20
    for form, more in {"jpg": {"comment": SECRET.encode()}, "png": {"pnginfo": told}, "webp": {"quality": 60}}.items():
        image.save(source / f"x.{form}", exif=exif, xmp=f"<x>{SECRET}</x>".encode(), icc_profile=profile, **more)
    image.save(source / "progressive.jpg", progressive=True, exif=exif)
    with open(source / "progressive.jpg", "ab") as file:
        file.write(SECRET.encode())
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe1 broken")
    (source / "notes.txt").write_text(SECRET)
    image.save(source / "frames.webp", save_all=True, append_images=[image.rotate(90)])
    document = scrub(tmp_path / "in", out)
    made = sorted(path.name for path in out.rglob("*") if path.is_file())
    assert made == ["progressive.jpg", "x.jpg", "x.png", "x.webp"]
    assert (document.rows, document.changed, sum(document.dropped.values())) == (7, 4, 3)
    from edgedistill.tasks.image_classification.decoding import read

    for name in made:
        data = (out / "a" / name).read_bytes()
        assert SECRET.encode() not in data
        with Image.open(out / "a" / name) as clean:
            assert not clean.getexif().get_ifd(0x8825)
            assert clean.info.get("icc_profile") == (None if name.startswith("prog") else profile)
        # Upright, bit for bit.
        assert np.array_equal(np.asarray(read(out / "a" / name)), np.asarray(read(source / name)))
    # The compressed pixels of a JPEG are copied.
    assert (source / "x.jpg").read_bytes().split(b"\xff\xda", 1)[1] in (out / "a" / "x.jpg").read_bytes()


def test_no_file_of_prepared_images_has_exif(tmp_path: Path) -> None:
    from PIL import Image

    from edgedistill import tasks
    from edgedistill.recipe import load_recipe

    exif = Image.Exif()
    exif[0x010F] = SECRET
    exif.get_ifd(0x8825)[29] = SECRET
    for number in range(12):
        place = tmp_path / "images" / "ab"[number % 2] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (number, 0, 0)).save(place, exif=exif)
        assert SECRET.encode() in place.read_bytes()
    fields = {"name": "x", "data": {"source": {"imagefolder": tmp_path / "images"}, "image_size": 32}}
    recipe = load_recipe(fields).recipe
    tasks.task(recipe.task).source(recipe).prepare(tmp_path / "data", 0)
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(files) > 2
    assert not [path.name for path in files if SECRET.encode() in path.read_bytes()]
