"""What runs note in the ledger of teaching sets, and how an example is removed from them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import edgedistill

from edgedistill import tasks
from edgedistill.errors import UserError
from edgedistill.recipe.loading import LoadedRecipe, load_recipe
from edgedistill.runs import open_run
from edgedistill.steps import flow, teaching_set
from edgedistill.steps import ledger as commands
from edgedistill.steps.distill import prepared_data
from edgedistill.steps.ledger import Named
from edgedistill.teach.ledger import lookup
from edgedistill.teach.ledger.ledger import FOLDER, Ledger

TEXTS = {
    "name": "texts",
    "task": "text-classification",
    "data": {"source": {"jsonl": "texts.jsonl"}, "tokenizer": {"vocabulary": 64}, "length": 16, "license_column": "terms"},
    "teacher": {"config": {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}, "train": {}},
    "student": {"config": {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}},
}
ROWS = [
    {"text": f"text number {n} says {'yes' if n % 2 else 'no'}", "label": str(n % 2), "terms": ("MIT", "CC0")[n // 20]} for n in range(40)
]


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LoadedRecipe]:
    """Writes a table of texts without the rows `without`, and loads a recipe of it with the fields `more`."""
    monkeypatch.chdir(tmp_path)

    def load(without: tuple[int, ...] = (), **more: Any) -> LoadedRecipe:
        Path("texts.jsonl").write_text("".join(json.dumps(row) + "\n" for n, row in enumerate(ROWS) if n not in without))
        Path("texts.yaml").write_text(yaml.safe_dump({**TEXTS, **more}))
        return load_recipe("texts.yaml")

    return load


def taught(loaded: LoadedRecipe, teacher: str = "teacher 1") -> dict[str, Any]:
    """Prepare the data of a recipe in a run, and note them as a training does."""
    recipe = loaded.recipe
    with open_run(Path("runs") / recipe.name) as run:
        prepared_data(run, loaded)
        data = tasks.task(recipe.task).dataset(recipe, run.work("data"))
        teaching_set.note(run, recipe, loaded.effective(), data, data, [teacher])
        return run.made("ledger")  # type: ignore[no-any-return]


def test_a_run_notes_what_it_learns_from_where_by_whom_and_under_which_licence(texts: Callable[..., LoadedRecipe]) -> None:
    noted = taught(texts())
    ledger = Ledger(Path("runs") / FOLDER)
    mit, cc0 = lookup.sets(ledger)
    assert noted["sets"] == [mit.row, cc0.row]
    assert (mit.facts["licence"], cc0.facts["licence"], mit.facts["source"]) == ("MIT", "CC0", "texts.jsonl")
    assert sum(mit.splits.values()) == sum(cc0.splits.values()) == 20
    [teacher] = mit.facts["teacher"]
    assert (teacher["name"], teacher["version"], teacher["temperature"]) == ("teacher", "teacher 1", {"finetune.kd": 2.0})
    assert mit.facts["transformations"]["length"] == 16
    found = lookup.example(ledger, lookup.at(ledger, "texts", 21))
    assert [(entry.place, entry.set) for entry in found.entries] == [(21, cc0.row)]
    assert found.runs == ["texts"]
    # Content is not in it.
    for path in ledger.folder.iterdir():
        assert b"says yes" not in path.read_bytes()
    Path("text").write_text(ROWS[21]["text"])
    assert commands.show(Path("runs"), Named(file=Path("text"))).example == found.example  # type: ignore[union-attr]


def test_what_is_there_is_not_appended_again(texts: Callable[..., LoadedRecipe]) -> None:
    first, second = taught(texts()), taught(texts(name="other"))
    assert second["sets"] == first["sets"]
    assert second["rows"] == first["rows"] + 2, "two sets that the other run used"
    assert taught(texts(name="other")) == second
    ledger = Ledger(Path("runs") / FOLDER)
    assert lookup.sets(ledger)[0].runs == ["other", "texts"]
    # Another teacher teaches another set.
    assert set(taught(texts(name="other"), "teacher 2")["sets"]).isdisjoint(first["sets"])
    assert commands.verify_ledger(Path("runs"), []).status == "ok"


def test_a_removed_text_may_not_be_taught_again(texts: Callable[..., LoadedRecipe]) -> None:
    taught(texts())
    taught(texts((7,), name="without"))
    removal = commands.remove_example(Path("runs"), Named(sample=("texts", 7)), "asked")
    assert removal.runs == ["texts"]
    assert not Path("runs/texts/work/data").exists()
    assert Path("runs/without/work/data").exists()
    with pytest.raises(UserError, match=r"1 sample.* of texts.jsonl were removed .* number 7, counted from 0"):
        taught(texts())
    assert not Path("runs/texts/work/data").exists(), "what was read for the check is erased again"
    taught(texts((7,)))
    with pytest.raises(UserError, match="number 6,"):
        taught(texts((3,)))
    taught(texts((3, 7)))
    found = lookup.example(Ledger(Path("runs") / FOLDER), bytes.fromhex(removal.example))
    assert found.entries[0].removed is not None
    again = commands.remove_example(Path("runs"), Named(example=removal.example), None)
    assert again.row == removal.row
    assert Path("runs/texts/work/data").exists()


def test_who_rewrites_the_ledger_is_found_by_the_runs(texts: Callable[..., LoadedRecipe]) -> None:
    noted = taught(texts())
    shutil.copytree("runs/.ledger", "before")
    later = taught(texts(name="other"))
    assert later["head"] != noted["head"]
    shutil.rmtree("runs/.ledger")
    shutil.copytree("before", "runs/.ledger")
    checked = commands.verify_ledger(Path("runs"), [noted["head"]])
    assert (checked.status, len(checked.problems)) == ("check_failed", 1)
    assert checked.problems[0].startswith("the run other noted the head")


def test_the_commands_tell_what_they_did(texts: Callable[..., LoadedRecipe], tmp_path: Path) -> None:
    taught(texts())
    removed = edgedistill("ledger", "remove", "--row", 3, "--reason", "asked", "--json", cwd=tmp_path)
    assert removed.returncode == 0, removed.stderr
    assert json.loads(removed.stdout)["runs"] == ["texts"]
    shown = edgedistill("ledger", "show", json.loads(removed.stdout)["example"], cwd=tmp_path)
    assert "row 3: sample 2 of set 0" in shown.stdout
    assert "source texts.jsonl, licence MIT, teacher teacher" in shown.stdout
    segment = next(Path("runs/.ledger").glob("*.parquet"))
    segment.write_bytes(segment.read_bytes().replace(b'"licence":"MIT"', b'"licence":"GPL"'))
    checked = edgedistill("ledger", "verify", "--json", cwd=tmp_path)
    assert (checked.returncode, json.loads(checked.stdout)["problems"]) == (3, ["row 0 (set) is not what was appended"])


def test_examples_are_named_in_one_way(texts: Callable[..., LoadedRecipe]) -> None:
    with pytest.raises(UserError, match="found no ledger in runs"):
        commands.show(Path("runs"), Named())
    taught(texts())
    for named, message in (
        (Named(example="12", row=1), "named in several ways"),
        (Named(example="12"), "expected 32 hexadecimal digits"),
        (Named(row=0), "is a row of the kind set"),
        (Named(row=10_000), "is not there"),
        (Named(sample=("texts", 99)), "found no sample 99 of a run texts"),
        (Named(example="0" * 32), "found no example 0000"),
    ):
        with pytest.raises(UserError, match=message):
            commands.show(Path("runs"), named)
    with pytest.raises(UserError, match="found no example, expected one of"):
        commands.remove_example(Path("runs"), Named(), None)


@pytest.mark.parametrize("place", [0, 1])
def test_a_removed_image_leaves_no_byte_of_it(tiny: Path, tmp_path: Path, place: int) -> None:
    runs = shutil.copytree(tiny / "runs", tmp_path / "runs", symlinks=True)
    data = runs / "tiny/work/data"
    sample = int(np.flatnonzero(np.load(data / "split.npy") == place)[0])
    image = np.load(data / "images.npy")[sample]
    needles = [image.tobytes(), (image.astype(np.float32) / np.float32(255)).tobytes()]
    if place == 0:
        needles += [path.read_bytes()[:20] for path in (runs / ".cache").rglob("*.float16")]
        assert any(".cache" in name for name in traces(runs, needles))
    else:
        # The first of val is among the golden inputs of bundles.
        needles += [np.load(path)[0].tobytes() for path in runs.rglob("work/val-*/outputs/logits.npy")]
        assert any("golden" in name for name in traces(runs, needles))
    # Who holds a file open reads what the disk keeps of it; another name of a file keeps its bytes.
    held = [open(data / name, "rb") for name in ("images.npy", "split.npy")]  # noqa: SIM115
    shared = next(path for path in data.glob("*.npy") if path.stem not in ("images", "split"))
    (tmp_path / "kept.npy").hardlink_to(shared)
    kept = shared.read_bytes()
    removal = commands.remove_example(runs, Named(sample=("tiny", sample)), None)
    assert removal.runs == ["tiny"]
    for file in held:
        with file:
            assert not any(file.read())
    assert (tmp_path / "kept.npy").read_bytes() == kept
    assert traces(runs, needles) == []
    with pytest.raises(UserError, match="go on with `edgedistill run`"):
        flow.report(runs / "tiny")
    shown = lookup.summary(Ledger(runs / FOLDER))
    assert (shown.removed, shown.sets[0].runs, shown.sets[0].facts["source"]) == (1, ["tiny"], "sklearn-digits")


def traces(folder: Path, needles: list[bytes]) -> list[str]:
    """The files in which one of the needles is."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [str(path) for path in files if any(needle in path.read_bytes() for needle in needles)]
