"""What of a run is empty, cut off or of something else is made again or named with the way out; never a traceback."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from conftest import edgedistill
from torch import nn

from edgedistill.distill import checkpoint
from edgedistill.errors import DamagedFile, StorageFailed, UserError
from edgedistill.run import Run, Step
from edgedistill.runs import open_run
from edgedistill.steps import flow

DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "empty": lambda data, other: b"",
    "half": lambda data, other: data[: len(data) // 2],
    "text": lambda data, other: b"The quick brown fox jumps over the lazy dog.\n",
    "list": lambda data, other: b"[1, 2]",
    "object": lambda data, other: b"{}",
    "other": lambda data, other: other,
}
"""What becomes of a file's bytes, and those of another file of its kind."""
KINDS = (
    "recipe.json", "summary.json", "work/records/data.json", "work/records/teacher.json", "work/records/teaching.json",
    "work/records/qat.json", "work/records/programs.json", "work/records/export-onnx.json", "work/records/val-student-int8.onnx.json",
    "work/records/budgets.json", "work/records/ranges-int8.json", "work/records/student.started.json", "work/data/data.json",
    "work/data/images.npy", "work/data/labels.npy", "work/data/split.npy", "work/data/fields.npz", "work/programs/samples/image.npy",
    "work/programs/rungs/integer/logits.npy", "work/programs/student-float.signature.json", "work/programs/student-reference.pt2",
    "work/val-student-int8.onnx/outputs/logits.npy",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run of `tiny`, without bundles, which take a second to write."""
    ignored = shutil.ignore_patterns("bundles", "logs")
    return shutil.copytree(tiny / "runs/tiny", tmp_path_factory.mktemp("damaged") / "tiny", symlinks=True, ignore=ignored)


def damaged(run: Path, names: tuple[str, ...], damages: tuple[str, ...]) -> Iterator[str]:
    """Each file of `names` damaged in each way, one after the other; what is damaged is whole again after it."""
    for name in names:
        path = run / name
        data, others = path.read_bytes(), [p for p in sorted(path.parent.glob(f"*{path.suffix}")) if p != path]
        other = (others[0] if others else run / "work/run.json").read_bytes()
        for damage in damages:
            path.write_bytes(DAMAGES[damage](data, other))
            yield f"{name} {damage}"
        path.write_bytes(data)


def outcomes(
    run: Path, names: tuple[str, ...], command: Callable[[Path], object], damages: tuple[str, ...] = ("half", "other")
) -> dict[str, str]:
    """What `command` says of each damage; anything but an error of ours fails."""
    said = {}
    for what in damaged(run, names, damages):
        try:
            command(run)
            said[what] = ""
        except (UserError, StorageFailed) as error:
            said[what] = str(error)
        except Exception as error:
            pytest.fail(f"{what}: {type(error).__name__}: {error}")
    return said


def test_the_report_of_a_damaged_run_names_the_file_and_the_way_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is written is not looked at, and drawing it takes a second.
    monkeypatch.setattr(import_module("edgedistill.report"), "write_report", lambda *_: None)
    monkeypatch.setattr(import_module("edgedistill.steps.report"), "write_bundles", lambda *_: {})
    said = outcomes(run, KINDS, flow.report, ("half",))
    for what, message in said.items():
        name = what.rpartition(" ")[0]
        if name == "summary.json" or name.endswith(".started.json"):
            assert message == "", what
        elif name.startswith(("work/data/", "work/programs/rungs", "work/val-", "recipe.json", "work/records/data")):
            assert re.search(rf"{run}/(work/\w[^ ]*|recipe\.json) .*`edgedistill run` of the run's recipe", message), f"{what}: {message}"


def test_verify_holds_no_file_to_a_state_that_is_damaged(run: Path) -> None:
    file = run / "artifacts/student-int8.onnx"
    names = tuple(name for name in KINDS if name.startswith(("work/programs/", "work/records/programs.json", "recipe.json")))
    for what, message in outcomes(run, names, lambda folder: flow.verify_file(file, folder)).items():
        assert "`edgedistill run`" in message, what


def test_export_lowers_nothing_from_a_state_that_is_damaged(run: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (run / "artifacts").iterdir()}
    names = tuple(name for name in KINDS if name.startswith(("work/programs/", "work/records/programs.json", "recipe.json")))
    for what, message in outcomes(run, names, flow.export).items():
        assert "`edgedistill run`" in message, what
    assert {path.name: path.stat().st_mtime_ns for path in (run / "artifacts").iterdir()} == before


@pytest.mark.slow
def test_every_file_of_a_run_may_be_damaged(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("edgedistill.report"), "write_report", lambda *_: None)
    files = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    names = tuple(name for name in files if not name.startswith("artifacts/") and name not in ("report.html", "work/run.json"))
    outcomes(run, names, flow.report, tuple(DAMAGES))


REPAIRED = (
    "work/records/data.json", "work/data/labels.npy", "work/records/teacher.json", "work/teacher/model.safetensors",
    "work/student/checkpoint.safetensors", "work/qat/checkpoint.safetensors", "work/teaching/val/logits.npy",
    "work/programs/student-converted.pt2", "work/val-student-int8.onnx/outputs/logits.npy", "work/records/holdout.json",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["empty", "half", "text", "other"])
def test_run_makes_again_what_is_damaged(tiny: Path, tmp_path: Path, damage: str) -> None:
    copy = shutil.copytree(tiny, tmp_path / "copy", symlinks=True)
    for what in damaged(copy / "runs/tiny", REPAIRED, (damage,)):
        done = edgedistill("run", "tiny.yaml", "--json", cwd=copy)
        assert done.returncode == 0, f"{what}: {done.stderr[-3000:]}"
        made, first = (json.loads(text)["state"] for text in (done.stdout, (tiny / "result.json").read_text()))
        assert made == first, what


def work(folder: Path) -> dict[str, int]:
    (folder / "made").write_text("whole")
    (folder / "checkpoint.safetensors").write_text("whole")
    return {"calls": 1}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["a.json", "a.started.json", "both"])
def test_a_record_that_is_damaged_is_absent(tmp_path: Path, name: str, damage: str) -> None:
    run = Run(tmp_path)
    for step in ("a", "b"):
        run.step(Step(step, 1), work)
    records = {path.name: path for path in run.work("records").iterdir()}
    for key in ("a.json", "a.started.json") if name == "both" else (name,):
        path, other = records[key], records[key.replace("a.", "b.")]
        path.write_bytes(DAMAGES[damage](path.read_bytes(), other.read_bytes()))
    whole = name == "a.started.json"
    assert run.result("a") == ({"calls": 1} if whole else None)
    assert run.versions("a").keys() == ({"edgedistill"} if whole else set())
    assert run.seconds("a") >= 0
    assert run.step(Step("a", 1), work) == {"calls": 1}
    assert run.result("a") == {"calls": 1}


def test_a_step_whose_files_were_damaged_goes_on_from_its_checkpoint_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, found = Run(tmp_path), list[str]()
    run.step(Step("a", 1), work)
    (run.work("a") / "made").write_text("cut")
    (run.work("a") / "foreign.npy").write_text("mine")
    with pytest.raises(DamagedFile, match=r"work/a is not what was written there: .*`edgedistill run`"):
        run.check("a")
    run.step(Step("a", 1), lambda folder: found.extend(path.name for path in folder.iterdir()))
    assert found == ["checkpoint.safetensors"]
    assert "a is done again: what it wrote was changed or damaged since" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", '{"sch'])
def test_a_mark_that_is_damaged_is_made_again_beside_records_of_ours(tmp_path: Path, content: str) -> None:
    with open_run(tmp_path / "run") as run:
        run.step(Step("a", 1), work)
    mark = tmp_path / "run/work/run.json"
    mark.write_text(content)
    with open_run(tmp_path / "run") as run:
        assert run.result("a") == {"calls": 1}
    assert json.loads(mark.read_text()) == {"schema": "edgedistill/run/2"}
    shutil.rmtree(tmp_path / "run/work/records")
    mark.write_text("")
    with pytest.raises(UserError, match=r"run\.json is empty, .* choose another name"), open_run(tmp_path / "run"):
        pass


@pytest.fixture
def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return module, optimizer


def saved(path: Path, trained: tuple[nn.Module, torch.optim.Optimizer], epochs: int, of: str = "student") -> None:
    with torch.no_grad():
        trained[0].bias.fill_(epochs)
    checkpoint.save(path, {"module": trained[0]}, trained[1], {"of": of, "curve": [{}] * epochs})


def resumed(path: Path) -> tuple[int | None, float]:
    """Epochs of the checkpoint that is used, and the bias that it has; None where none is."""
    torch.manual_seed(1)
    module = nn.Linear(3, 2)
    state = checkpoint.resume(path, {"module": module}, torch.optim.AdamW(module.parameters()), of="student")
    return None if state is None else len(state["curve"]), float(module.bias[0].detach())


@pytest.mark.parametrize("damage", ["flipped weight", "flipped state", "empty", "half", "text", "of another", "without checksum"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_used(
    trained: tuple[nn.Module, torch.optim.Optimizer], tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    saved(path, trained, 1)
    saved(path, trained, 2)
    assert resumed(path) == (2, 2.0)
    assert capsys.readouterr().err == ""
    data = path.read_bytes()
    if damage == "of another":
        saved(path, trained, 3, of="control")
        saved(tmp_path / "before.safetensors", trained, 1)
        os.replace(tmp_path / "before.safetensors", tmp_path / "checkpoint-before.safetensors")
    elif damage == "flipped weight":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "flipped state":
        path.write_bytes(data.replace(b"[{}, {}]", b"[{}, { ]") if b"[{}, {}]" in data else data.replace(b'"of', b'"oF'))
    elif damage == "without checksum":
        path.write_bytes(data.replace(b"sha256", b"sha255"))
    else:
        path.write_bytes(DAMAGES[damage](data, b""))
    assert resumed(path) == (1, 1.0)
    assert "checkpoint.safetensors is " in (said := capsys.readouterr().err)
    assert "is not used: training goes on from what was before it" in said
    (tmp_path / "checkpoint-before.safetensors").unlink()
    epochs, bias = resumed(path)
    assert epochs is None
    assert bias not in (1.0, 2.0, 3.0), "nothing is loaded of it"


def test_a_finished_training_keeps_one_checkpoint(trained: tuple[nn.Module, torch.optim.Optimizer], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    saved(path, trained, 1)
    saved(path, trained, 2)
    checkpoint.finish(path)
    assert list(tmp_path.iterdir()) == [path]
